// A critic's page: its six pictures.
const key = (label, color, about, dashed) => keyOf(label, about, color, null, dashed);
function chart(title, says, keys, draw) {
  const plot = frame(byId('charts'), title, says, keys);
  later(plot, () => { const [traces, extra] = draw(); Plotly.react(plot, traces, layout({ hovermode: 'closest', ...extra }), options); });
}
const span = data.high - data.low || 1, range = [data.low - .05 * span, data.high + .05 * span];
const diagonal = ends => ({ x: ends, y: ends, mode: 'lines', line: { color: css('--faint'), dash: 'dash', width: 1.2 }, hoverinfo: 'skip' });
const CRITIC = '--told', TRUTH = '--clean', GROUP = '--third';

chart('Reliability', 'Mean truth of the states in a bin of value, with two standard errors; a larger dot holds more states.',
  [key('critic', CRITIC, 'Mean truth by the critic’s value'), key('perfect', '--faint', 'Where value and truth agree', true)], () => {
    const bins = data.reliability, most = Math.max(1, ...bins.map(b => b.states));
    return [[diagonal([data.low, data.high]), { x: bins.map(b => b.value), y: bins.map(b => b.truth), mode: 'lines+markers', line: { color: css(CRITIC), width: 1.5 },
      error_y: { type: 'data', array: bins.map(b => b.error), color: css(CRITIC), thickness: 1, width: 2 }, marker: { color: css(CRITIC), size: bins.map(b => 5 + 11 * Math.sqrt(b.states / most)), opacity: .85 },
      customdata: bins.map(b => b.states), hovertemplate: 'value %{x:.3f}, truth %{y:.3f}<br>%{customdata} states<extra></extra>' }],
      { xaxis: axis('value [reward]', { range, zeroline: false }), yaxis: axis('truth [reward]', { range, zeroline: false }) }];
  });

const cloud = (x, y, color) => ({ x, y, type: 'scatter', mode: 'markers', marker: { color: css(color), size: 5, opacity: .5 }, customdata: data.states.map(s => [s.task_id, s.position, s.length, 2 * s.truth_error]),
  hovertemplate: '%{customdata[0]}<br>before token %{customdata[1]} of %{customdata[2]}<br>value %{x:.3f}, truth %{y:.3f} ± %{customdata[3]:.3f}<extra></extra>' });
chart('Value against truth', 'Every audited state.', [key('critic', CRITIC, 'One dot a state'), key('perfect', '--faint', 'Where value and truth agree', true)],
  () => [[diagonal([data.low, data.high]), cloud(data.states.map(s => s.value), data.states.map(s => s.truth), CRITIC)],
    { xaxis: axis('value [reward]', { zeroline: false }), yaxis: axis('truth [reward]', { range, zeroline: false }) }]);

const centered = ys => { const sum = {}, n = {}; data.prompts.forEach((p, i) => { sum[p] = (sum[p] || 0) + ys[i]; n[p] = (n[p] || 0) + 1; }); return ys.map((y, i) => y - sum[data.prompts[i]] / n[data.prompts[i]]); };
chart('Inside prompts', 'The same with each prompt’s mean taken out of both: a critic that collapsed to a mean of the prompt stands on one vertical line.',
  [key('critic', CRITIC, 'One dot a state, relative to its prompt'), key('perfect', '--faint', 'Where value and truth agree', true)], () => {
    const x = centered(data.states.map(s => s.value)), y = centered(data.states.map(s => s.truth)), reach = Math.max(...x.map(Math.abs), ...y.map(Math.abs));
    return [[diagonal([-reach, reach]), cloud(x, y, CRITIC)], { xaxis: axis('value − prompt’s mean', { range: [-1.05 * reach, 1.05 * reach] }), yaxis: axis('truth − prompt’s mean', { range: [-1.05 * reach, 1.05 * reach] }) }];
  });

const floor = xs => { const known = xs.filter(x => x !== null); return [Math.max(-1, Math.min(0, ...known)) - .05, 1.05]; };
function explained(title, says, slices, name) {
  chart(title, says, [key('critic', CRITIC, 'Explained variance of the critic among these states, freed from noise'), key('group mean', GROUP, 'The same for the mean of the prompt’s samples')], () => {
    const bar = (ys, color, label) => ({ type: 'bar', x: slices.map(s => s.label), y: ys, name: label, marker: { color: css(color), opacity: .85 }, customdata: slices.map(s => s.states), hovertemplate: '%{y:.3f} (%{customdata} states)<extra>' + label + '</extra>' });
    const mine = slices.map(s => s.explained_variance), theirs = slices.map(s => s.group_explained_variance);
    return [[bar(mine, CRITIC, 'critic'), bar(theirs, GROUP, 'group mean')], { barmode: 'group', xaxis: axis(name, { showgrid: false, type: 'category' }), yaxis: axis('explained variance', { range: floor([...mine, ...theirs]) }) }];
  });
}
explained('Explained variance by place', '1 is perfect, 0 is as good as a constant among the states of this tenth.', data.by_place, 'share of the answer written');
explained('Explained variance by length', 'Answers in quarters of their length; bars below −1 are cut.', data.by_length, 'tokens of the answer');

chart('Value and truth along the answer', 'Means over the audited states of each tenth.', [key('value', CRITIC, 'Mean value'), key('truth', TRUTH, 'Mean truth')], () => {
  const line = (ys, color, label) => ({ x: data.by_place.map(s => s.label), y: ys, name: label, mode: 'lines+markers', line: { color: css(color), width: 2 }, marker: { color: css(color), size: 6 }, hovertemplate: '%{y:.3f}<extra>' + label + '</extra>' });
  return [[line(data.by_place.map(s => s.value), CRITIC, 'value'), line(data.by_place.map(s => s.truth), TRUTH, 'truth')],
    { xaxis: axis('share of the answer written', { showgrid: false, type: 'category' }), yaxis: axis('reward', { range, zeroline: false }) }];
});
