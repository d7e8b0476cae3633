// Draws with Plotly: curves with their keys, each chart when it comes near to view, again when the color scheme changes.
const colors = ['--told', '--clean', '--third', '--fourth'];
const smooth = (ys, w) => ys.map((_, i) => { let s = 0, n = 0; for (let j = Math.max(0, i - w); j <= Math.min(ys.length - 1, i + w); j++) if (ys[j] !== null) { s += ys[j]; n++; } return n ? s / n : null; });
const layout = extra => Object.assign({ margin: { l: 48, r: 10, t: 6, b: 36 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', showlegend: false,
  hovermode: 'x unified', font: { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: css('--soft') },
  hoverlabel: { bgcolor: css('--card'), bordercolor: css('--line'), font: { color: css('--ink'), size: 12 } } }, extra);
const axis = (title, extra) => Object.assign({ title: { text: title, standoff: 6 }, gridcolor: css('--line'), zerolinecolor: css('--faint'), zerolinewidth: 1, linecolor: css('--line'), automargin: true, nticks: 6, exponentformat: 'power' }, extra);
const options = { displayModeBar: false, responsive: true };
const drawings = new Map(); // plot -> what draws it; drawn when it comes near to view, and before a print
const drawn = new Set();
const drawOne = plot => { near.unobserve(plot); drawn.add(plot); drawings.get(plot)(); };
const near = new IntersectionObserver(seen => seen.filter(e => e.isIntersecting).forEach(e => drawOne(e.target)), { rootMargin: '600px' });
const later = (plot, draw) => { drawings.set(plot, draw); near.observe(plot); };
const drawAll = () => [...drawings.keys()].filter(plot => !drawn.has(plot)).forEach(drawOne);
addEventListener('beforeprint', drawAll);
function keyOf(label, sentence, color, toggle, dashed) {
  const k = $(toggle ? 'button' : 'span', 'key'), i = $('i', dashed ? 'dashed' : '');
  i.style.background = i.style.borderColor = `var(${color})`; k.append(i, label); k.dataset.tip = sentence;
  if (toggle) { k.type = 'button'; k.setAttribute('aria-pressed', 'true'); k.addEventListener('click', () => { const on = k.getAttribute('aria-pressed') !== 'true'; k.setAttribute('aria-pressed', on); toggle(on); }); }
  else k.tabIndex = 0;
  return k;
}
function frame(home, title, says, keys) {
  const card = $('section', 'card chart'), head = $('div', 'head'), ks = $('div', 'keys'), plot = $('div', 'plot');
  ks.append(...keys); head.append($('h3', '', title), ks);
  plot.setAttribute('role', 'img'); plot.setAttribute('aria-label', title + '. ' + says);
  card.append(head, $('p', '', says), plot); home.append(card);
  return plot;
}
function curve(home, chart) {
  const off = new Set();
  let plot;
  const keys = chart.series.map((s, i) => keyOf(s.label, `${s.metric} [${s.unit}]: ${s.sentence}`, s.color || colors[i], chart.series.length > 1 && (on => { if (on) off.delete(i); else off.add(i); drawOne(plot); })));
  plot = frame(home, chart.title, chart.says, keys);
  later(plot, () => {
    const traces = [];
    chart.series.forEach((s, i) => {
      const xs = s.steps || data.steps, w = Math.floor(xs.length / 25), color = css(s.color || colors[i]), visible = !off.has(i), line = { x: xs, name: s.label, mode: xs.length < 3 ? 'markers' : 'lines', visible };
      if (w > 0) traces.push({ ...line, y: s.values, line: { color, width: 1 }, opacity: .32, hoverinfo: 'skip' });
      traces.push({ ...line, y: w > 0 ? smooth(s.values, w) : s.values, line: { color, width: 2.2 }, marker: { color, size: 7 }, customdata: s.values, hovertemplate: '%{customdata:.4~g}' });
    });
    Plotly.react(plot, traces, layout({ xaxis: axis('step', { showgrid: false, zeroline: false }), yaxis: axis(chart.series[0].unit, chart.floor_zero ? { rangemode: 'tozero' } : {}) }), options);
  });
}
const ZERO = 1e-6; // what float arithmetic leaves of a difference that is none
function curves(home, charts) {
  const flat = charts.filter(c => c.series.every(s => s.values.every(v => Math.abs(v) < ZERO)));
  charts.filter(c => !flat.includes(c)).forEach(chart => curve(home, chart));
  if (flat.length) home.after($('p', 'note', `Zero all along, and not drawn: ${flat.map(c => c.title).join(', ')}.`));
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => drawn.forEach(drawOne));
