// The report's charts.
document.querySelectorAll('[data-charts]').forEach(home => curves(home, data[home.dataset.charts] || []));
const homeOf = name => document.querySelector(`[data-charts=${name}]`);
const picture = data.picture, span = picture.high - picture.low;
if (picture.told.length) {
  const keys = [keyOf('told', 'Mean told outcome of the tokens in a bin of value', '--told'), keyOf('clean', 'Mean outcome before injected noise', '--clean'), keyOf('perfect', 'Where value and outcome agree', '--faint', null, true)];
  const steps = picture.steps, when = steps.length > 1 ? `steps ${steps[0]}–${steps[steps.length - 1]}` : `step ${steps[0]}`;
  const plot = frame(homeOf('critic'), 'Calibration', `Mean outcome by value, ${when}; a larger dot holds more tokens.`, keys);
  later(plot, () => {
    const most = Math.max(...picture.told.map(b => b.tokens)), range = [picture.low - .04 * span, picture.high + .04 * span];
    const trace = (bins, name, color) => ({ x: bins.map(b => b.value), y: bins.map(b => b.outcome), name, mode: 'lines+markers', line: { color: css(color), width: 1.5 },
      marker: { color: css(color), size: bins.map(b => 5 + 11 * Math.sqrt(b.tokens / most)), opacity: .85 }, customdata: bins.map(b => [b.tokens, b.trajectories]),
      hovertemplate: `value %{x:.3f}, ${name} outcome %{y:.3f}<br>%{customdata[0]} tokens of %{customdata[1]} trajectories<extra></extra>` });
    Plotly.react(plot, [{ x: [picture.low, picture.high], y: [picture.low, picture.high], mode: 'lines', line: { color: css('--faint'), dash: 'dash', width: 1.2 }, hoverinfo: 'skip' },
      trace(picture.told, 'told', '--told'), trace(picture.clean, 'clean', '--clean')],
      layout({ hovermode: 'closest', xaxis: axis('value [reward]', { range, zeroline: false }), yaxis: axis('mean outcome [reward]', { range, zeroline: false }) }), options);
  });
}
if (picture.right.length || picture.wrong.length) {
  const plot = frame(homeOf('critic'), 'Value as the answer unfolds', 'Mean value by place in the answer: the sooner the lines part, the earlier the critic knows.',
    [keyOf('right', 'Trajectories that are right by the clean outcome', '--told'), keyOf('wrong', 'Trajectories that are wrong by the clean outcome', '--clean')]);
  later(plot, () => {
    const trace = (bins, name, color) => ({ x: bins.map(b => 100 * b.place), y: bins.map(b => b.value), name, mode: 'lines', line: { color: css(color), width: 2.2 },
      hovertemplate: '%{y:.3f}' + (bins.length ? ` (${bins[0].trajectories} trajectories)` : '') });
    Plotly.react(plot, [trace(picture.right, 'right', '--told'), trace(picture.wrong, 'wrong', '--clean')],
      layout({ xaxis: axis('share of the answer written [%]', { showgrid: false, zeroline: false, range: [0, 101], tickvals: [0, 25, 50, 75, 100] }), yaxis: axis('value [reward]', { range: [picture.low - .03 * span, picture.high + .03 * span], zeroline: false }) }), options);
  });
}
if (data.tenths.some(x => x > 0)) {
  const plot = frame(homeOf('surprise'), 'Where in the answer', 'Mean size of a token’s surprise in each tenth of the answer.', []);
  later(plot, () => Plotly.react(plot, [{ type: 'bar', x: data.tenths.map((_, i) => `${10 * i}–${10 * i + 10}`), y: data.tenths, marker: { color: css('--told') }, hovertemplate: '%{y:.3f}<extra></extra>' }],
    layout({ hovermode: 'closest', xaxis: axis('share of the answer written [%]', { showgrid: false, type: 'category' }), yaxis: axis('reward', {}) }), options));
}
