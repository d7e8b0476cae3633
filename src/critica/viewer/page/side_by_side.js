// Draws every metric of all runs over one another. Asks no network.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const $ = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const color = i => { const made = css(`--run${i}`), inner = made.match(/^var\((.+)\)$/); return inner ? css(inner[1]) : made; };
const smooth = (ys, w) => ys.map((_, i) => { let s = 0, n = 0; for (let j = Math.max(0, i - w); j <= Math.min(ys.length - 1, i + w); j++) if (ys[j] !== null) { s += ys[j]; n++; } return n ? s / n : null; });
const home = document.getElementById('charts'), drawings = [];
for (const chart of data.charts) {
  const card = $('section', 'card chart'), plot = $('div', 'plot');
  card.append($('h3', '', chart.title), $('p', '', chart.says), plot);
  home.append(card);
  drawings.push(() => {
    const traces = [];
    chart.runs.forEach((run, i) => {
      const w = Math.floor(run.steps.length / 25), line = { x: run.steps, name: data.names[i], mode: run.steps.length < 3 ? 'markers' : 'lines' };
      if (w > 0) traces.push({ ...line, y: run.values, line: { color: color(i), width: 1 }, opacity: .25, hoverinfo: 'skip' });
      traces.push({ ...line, y: w > 0 ? smooth(run.values, w) : run.values, line: { color: color(i), width: 2.2 }, marker: { color: color(i), size: 7 }, customdata: run.values, hovertemplate: '%{customdata:.4~g}' });
    });
    const axis = extra => Object.assign({ gridcolor: css('--line'), zerolinecolor: css('--faint'), linecolor: css('--line'), automargin: true, nticks: 6 }, extra);
    Plotly.react(plot, traces, { margin: { l: 48, r: 10, t: 6, b: 36 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', showlegend: false, hovermode: 'x unified',
      font: { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: css('--soft') }, hoverlabel: { bgcolor: css('--card'), bordercolor: css('--line'), font: { color: css('--ink'), size: 12 } },
      xaxis: axis({ title: { text: 'step', standoff: 6 }, showgrid: false, zeroline: false }), yaxis: axis({ title: { text: chart.unit, standoff: 6 } }) }, { displayModeBar: false, responsive: true });
  });
}
const drawAll = () => drawings.forEach(draw => draw());
drawAll();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
