// What the report does in the browser: draw the charts, color the tokens, answer the pointer. Asks no network.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const show = (x, digits = 3) => x === null || x === undefined ? '–' : Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(1) : x.toFixed(digits);
const tip = document.getElementById('tip');
const place = (x, y) => {
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(x - w / 2, innerWidth - w - 8)) + 'px';
  tip.style.top = (y + 18 + h > innerHeight ? Math.max(8, y - h - 14) : y + 18) + 'px';
};
const openTip = (node, x, y) => { tip.replaceChildren(...(Array.isArray(node) ? node : [node])); tip.style.visibility = 'visible'; place(x, y); };
const closeTip = () => { tip.style.visibility = 'hidden'; };
document.addEventListener('mouseover', e => { const t = e.target.closest && e.target.closest('[data-tip]'); if (t) { const b = t.getBoundingClientRect(); openTip($('div', '', t.dataset.tip), b.left + b.width / 2, b.bottom - 8); } });
document.addEventListener('mouseout', e => { if (e.target.closest && e.target.closest('[data-tip]')) closeTip(); });
addEventListener('scroll', closeTip, { passive: true });

// Charts ------------------------------------------------------------------------------------------------------
const colors = ['--told', '--clean', '--third'];
const smooth = (ys, w) => ys.map((_, i) => { let s = 0, n = 0; for (let j = Math.max(0, i - w); j <= Math.min(ys.length - 1, i + w); j++) if (ys[j] !== null) { s += ys[j]; n++; } return n ? s / n : null; });
const layout = (extra) => Object.assign({ margin: { l: 48, r: 10, t: 6, b: 36 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', showlegend: false,
  hovermode: 'x unified', font: { family: getComputedStyle(document.body).fontFamily, size: 11.5, color: css('--soft') },
  hoverlabel: { bgcolor: css('--card'), bordercolor: css('--line'), font: { color: css('--ink'), size: 12 } } }, extra);
const axis = (title, extra) => Object.assign({ title: { text: title, standoff: 6 }, gridcolor: css('--line'), zerolinecolor: css('--faint'), zerolinewidth: 1, linecolor: css('--line'), automargin: true, nticks: 6, exponentformat: 'power' }, extra);
const options = { displayModeBar: false, responsive: true };
const keyOf = (label, sentence, color, dashed) => { const k = $('span', 'key'); const i = $('i', dashed ? 'dashed' : ''); i.style.background = `var(${color})`; i.style.borderColor = `var(${color})`; k.append(i, label); k.dataset.tip = sentence; return k; };
const frame = (home, title, says, keys) => { const card = $('section', 'card chart'), head = $('div', 'head'), ks = $('div', 'keys'); ks.append(...keys); head.append($('h3', '', title), ks); const plot = $('div', 'plot'); card.append(head, $('p', '', says), plot); home.append(card); return plot; };
const drawings = [];
function curves(home, charts) {
  for (const chart of charts) {
    const plot = frame(home, chart.title, chart.says, chart.series.map((s, i) => keyOf(s.label, `${s.metric} [${s.unit}]: ${s.sentence}`, colors[i])));
    drawings.push(() => {
      const w = Math.floor(data.steps.length / 25), traces = [];
      chart.series.forEach((s, i) => {
        const color = css(colors[i]), line = { x: data.steps, name: s.label, mode: data.steps.length < 3 ? 'markers' : 'lines' };
        if (w > 0) traces.push({ ...line, y: s.values, line: { color, width: 1 }, opacity: .32, hoverinfo: 'skip' });
        traces.push({ ...line, y: w > 0 ? smooth(s.values, w) : s.values, line: { color, width: 2.2 }, marker: { color, size: 7 }, customdata: s.values, hovertemplate: '%{customdata:.4~g}' });
      });
      const y = axis(chart.series[0].unit, chart.floor_zero ? { rangemode: 'tozero' } : {});
      Plotly.react(plot, traces, layout({ xaxis: axis('step', { showgrid: false, zeroline: false }), yaxis: y }), options);
    });
  }
}
function calibration(home, c) {
  if (!c.told.length) return;
  const keys = [keyOf('told', 'Mean told outcome of the tokens in a bin of value', '--told'), keyOf('clean', 'Mean outcome before injected noise', '--clean'), keyOf('perfect', 'Where value and outcome agree', '--faint', true)];
  const plot = frame(home, 'Calibration', `Mean outcome by value, ${c.steps.length > 1 ? 'steps ' + c.steps[0] + '–' + c.steps[c.steps.length - 1] : 'step ' + c.steps[0]}; a larger dot holds more tokens.`, keys);
  drawings.push(() => {
    const most = Math.max(...c.told.map(b => b.tokens)), range = [c.low - .04 * (c.high - c.low), c.high + .04 * (c.high - c.low)];
    const trace = (bins, name, color) => ({ x: bins.map(b => b.value), y: bins.map(b => b.outcome), name, mode: 'lines+markers', line: { color: css(color), width: 1.5 },
      marker: { color: css(color), size: bins.map(b => 5 + 11 * Math.sqrt(b.tokens / most)), opacity: .85 }, customdata: bins.map(b => [b.tokens, b.trajectories]),
      hovertemplate: `value %{x:.3f}, ${name} outcome %{y:.3f}<br>%{customdata[0]} tokens of %{customdata[1]} trajectories<extra></extra>` });
    Plotly.react(plot, [{ x: [c.low, c.high], y: [c.low, c.high], mode: 'lines', line: { color: css('--faint'), dash: 'dash', width: 1.2 }, hoverinfo: 'skip' },
      trace(c.told, 'told', '--told'), trace(c.clean, 'clean', '--clean')],
      layout({ hovermode: 'closest', xaxis: axis('value [reward]', { range, zeroline: false }), yaxis: axis('mean outcome [reward]', { range, zeroline: false }) }), options);
  });
}
function unfolding(home, c) {
  if (!c.right.length && !c.wrong.length) return;
  const plot = frame(home, 'Value as the answer unfolds', 'Mean value by place in the answer: the sooner the lines part, the earlier the critic knows.',
    [keyOf('right', 'Trajectories that are right by the clean outcome', '--told'), keyOf('wrong', 'Trajectories that are wrong by the clean outcome', '--clean')]);
  drawings.push(() => {
    const trace = (bins, name, color) => ({ x: bins.map(b => 100 * b.place), y: bins.map(b => b.value), name, mode: 'lines', line: { color: css(color), width: 2.2 },
      hovertemplate: '%{y:.3f}' + (bins.length ? ` (${bins[0].trajectories} trajectories)` : '') });
    Plotly.react(plot, [trace(c.right, 'right', '--told'), trace(c.wrong, 'wrong', '--clean')],
      layout({ xaxis: axis('share of the answer written [%]', { showgrid: false, zeroline: false, range: [0, 100] }), yaxis: axis('value [reward]', { range: [c.low - .03 * (c.high - c.low), c.high + .03 * (c.high - c.low)], zeroline: false }) }), options);
  });
}
curves(document.getElementById('learning'), data.learning);
curves(document.getElementById('supervision'), data.supervision);
curves(document.getElementById('critic'), data.critic);
calibration(document.getElementById('critic'), data.picture);
unfolding(document.getElementById('critic'), data.picture);
const drawAll = () => drawings.forEach(draw => draw());
drawAll();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { drawAll(); paint(); });

// Rollouts ----------------------------------------------------------------------------------------------------
// A shown token is [text, sampled, value, [q10 q25 q50 q75 q90], advantage, log-prob].
const quantile = (xs, p) => { const s = xs.filter(x => x !== null).map(Math.abs).sort((a, b) => a - b); return s.length ? s[Math.min(s.length - 1, Math.floor(p * s.length))] : 1; };
const allTokens = data.rollouts.flatMap(r => r.tokens);
const reach = quantile(allTokens.map(t => t[4]), .98) || 1, surprise = quantile(allTokens.map(t => t[5]), .98) || 1;
const strength = {
  value: (t, r) => t[2] === null ? null : 2 * (t[2] - r.low) / ((r.high - r.low) || 1) - 1,
  advantage: t => t[4] === null ? null : t[4] / reach,
  surprise: t => t[5] === null ? null : t[5] / surprise,
};
const scales = {
  value: () => { const r = data.rollouts[0] || { low: 0, high: 1 }; return [show(r.low, 2), show(r.high, 2), 'expected reward']; },
  advantage: () => [show(-reach, 2), '+' + show(reach, 2), 'credit (98% inside)'],
  surprise: () => [show(-surprise, 2), '0', 'log-probability [nats]'],
};
let coloring = 'value', kind = 'all';
const tint = x => { const c = Math.max(-1, Math.min(1, x)); return `rgba(var(${c >= 0 ? '--high' : '--low'}), calc(var(--strength) * ${Math.abs(c).toFixed(3)}))`; };
function paint() {
  document.querySelectorAll('.text span[data-i]').forEach(span => {
    const r = data.rollouts[span.parentNode.dataset.r], t = r.tokens[span.dataset.i], x = t[1] ? strength[coloring](t, r) : null;
    span.style.background = x === null ? 'none' : tint(x);
  });
  const [low, high, what] = scales[coloring](), scale = document.getElementById('scale'), bar = $('i');
  const stops = coloring === 'surprise' ? [-1, -.75, -.5, -.25, 0] : [-1, -.5, 0, .5, 1];
  bar.style.background = `linear-gradient(90deg, ${stops.map(tint).join(', ')})`;
  scale.replaceChildren($('span', '', low), bar, $('span', '', high), $('span', '', what));
}
const visible = text => text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/ /g, '␣') || '(empty)';
function tokenTip(t, r, index) {
  const nodes = [$('div', 'tok mono', visible(t[0])), $('div', 'note', t[1] ? `token ${index + 1} of ${r.length}` : 'read, not written')];
  if (t[3].length) {
    const x = v => (4 + 222 * Math.max(0, Math.min(1, (v - r.low) / ((r.high - r.low) || 1)))).toFixed(1), q = t[3];
    const holder = $('div'), marks = [['told', r.told], ['clean', r.clean]].filter(m => m[1] !== null);
    holder.innerHTML = `<svg viewBox="0 0 230 34"><line x1="4" x2="226" y1="14" y2="14" style="stroke:var(--line)"/>` +
      `<rect x="${x(q[0])}" width="${Math.max(1, x(q[4]) - x(q[0]))}" y="9" height="10" rx="2" style="fill:rgba(var(--high),.2)"/><rect x="${x(q[1])}" width="${Math.max(1, x(q[3]) - x(q[1]))}" y="9" height="10" style="fill:rgba(var(--high),.4)"/>` +
      `<line x1="${x(q[2])}" x2="${x(q[2])}" y1="6" y2="22" style="stroke:rgb(var(--high));stroke-width:2"/>` +
      marks.map(([n, v], i) => `<circle cx="${x(v)}" cy="14" r="${i ? 2.6 : 4.4}" style="fill:${i ? `var(--${n})` : 'none'};stroke:var(--${n});stroke-width:1.6"/>`).join('') +
      `<text x="4" y="33" style="font-size:10px;fill:var(--faint)">${show(r.low, 1)}</text><text x="226" y="33" text-anchor="end" style="font-size:10px;fill:var(--faint)">${show(r.high, 1)}</text></svg>`;
    nodes.push(holder.firstChild);
  }
  const table = $('table'), row = (name, value) => { const tr = $('tr'); tr.append($('td', '', name), $('td', 'n mono', value)); table.append(tr); };
  if (t[2] !== null) row('value', show(t[2]));
  if (t[3].length) data.levels.forEach((level, i) => row(`quantile ${level}`, show(t[3][i])));
  if (t[4] !== null) row('advantage', (t[4] > 0 ? '+' : '') + show(t[4]));
  if (t[5] !== null) row('log-prob', `${show(t[5])} (p ${show(Math.exp(t[5]))})`);
  return [...nodes, table];
}
function bandOf(r) {
  const known = r.tokens.map((t, i) => [t, i]).filter(([t]) => t[2] !== null);
  if (known.length < 2) return null;
  const span = Math.max(r.tokens.length - 1, 1), x = i => (1000 * i / span).toFixed(1), y = v => (54 - 52 * Math.max(-.1, Math.min(1.1, (v - r.low) / ((r.high - r.low) || 1)))).toFixed(1);
  const area = (a, b) => 'M' + known.map(([t, i]) => `${x(i)},${y(t[3][a])}`).join('L') + 'L' + known.slice().reverse().map(([t, i]) => `${x(i)},${y(t[3][b])}`).join('L') + 'Z';
  const mark = (name, v, dash) => v === null ? '' : `<line class="${name}" x1="0" x2="1000" y1="${y(v)}" y2="${y(v)}" stroke-width="1.3" stroke-dasharray="${dash}"/>`;
  const bands = known.every(([t]) => t[3].length) ? `<path class="outer" d="${area(0, 4)}"/><path class="inner" d="${area(1, 3)}"/>` : '';
  const holder = $('div');
  holder.innerHTML = `<svg class="band" viewBox="0 0 1000 56" preserveAspectRatio="none"><line class="edge" x1="0" x2="1000" y1="2" y2="2"/><line class="edge" x1="0" x2="1000" y1="54" y2="54"/>${mark('told', r.told, '5 3')}${mark('clean', r.clean, '1.5 4')}${bands}` +
    `<path class="mean" d="M${known.map(([t, i]) => `${x(i)},${y(t[2])}`).join('L')}"/><line class="cursor" x1="0" x2="0" y1="0" y2="56"/></svg>`;
  return holder.firstChild;
}
function badges(r) {
  const box = $('div', 'badges'), badge = (cls, text, about) => { const b = $('span', 'badge ' + cls, text); if (about) b.dataset.tip = about; box.append(b); };
  if (r.flipped) badge('flipped', '⚑ flipped', 'Injected noise changed this reward: what training was told is not the truth.');
  badge(r.correct === null ? '' : r.correct ? 'right' : 'wrong', r.correct === null ? 'no outcome' : r.correct ? '✓ right' : '✗ wrong', 'By the clean outcome.');
  badge('', `told ${show(r.told, 2)}`, 'The reward that training saw.'); badge('', `clean ${show(r.clean, 2)}`, 'The reward before injected noise; training never sees it.');
  if (r.state !== 'trained') badge('', `${r.state}: ${r.reason}`, 'From the ledger.');
  badge('', r.stop.replaceAll('_', ' '), 'Why the trajectory ended.');
  return box;
}
function card(r, n) {
  const box = $('article', 'card rollout'), head = $('div', 'head'), title = $('div', 'title'), text = $('div', 'text mono');
  title.append($('b', '', `step ${r.step}`), ` · ${r.trajectory_id} · ${r.length} tokens`); head.append(title, badges(r));
  text.dataset.r = n;
  r.tokens.forEach((t, i) => { const s = $('span', t[1] ? '' : 'read', t[0]); s.dataset.i = i; text.append(s); });
  const written = r.tokens.filter(t => t[1]).length;
  box.append(head, $('div', 'prompt', r.prompt), text);
  if (written < r.length) box.append($('div', 'note', `the first ${written} of ${r.length} tokens`));
  const band = bandOf(r); if (band) box.append(band);
  box.append($('div', 'note', r.answer ? `reference answer: ${r.answer}` : ''));
  const cursor = band && band.querySelector('.cursor');
  text.addEventListener('mouseover', e => { const s = e.target.closest('span[data-i]'); if (!s) return; const i = +s.dataset.i, t = r.tokens[i], b = s.getClientRects()[0];
    openTip(tokenTip(t, r, r.tokens.slice(0, i).filter(u => u[1]).length), b.left + b.width / 2, b.bottom - 8);
    if (cursor) { const x = 1000 * i / Math.max(r.tokens.length - 1, 1); cursor.setAttribute('x1', x); cursor.setAttribute('x2', x); cursor.style.visibility = 'visible'; } });
  text.addEventListener('mouseout', () => { closeTip(); if (cursor) cursor.style.visibility = 'hidden'; });
  if (band) { const at = e => { const b = band.getBoundingClientRect(); return Math.max(0, Math.min(r.tokens.length - 1, Math.round((e.clientX - b.left) / b.width * (r.tokens.length - 1)))); };
    band.addEventListener('mousemove', e => { const i = at(e); text.querySelectorAll('.on').forEach(s => s.classList.remove('on')); text.children[i].classList.add('on'); openTip(tokenTip(r.tokens[i], r, r.tokens.slice(0, i).filter(u => u[1]).length), e.clientX, e.clientY);
      const x = 1000 * i / Math.max(r.tokens.length - 1, 1); cursor.setAttribute('x1', x); cursor.setAttribute('x2', x); cursor.style.visibility = 'visible'; });
    band.addEventListener('mouseleave', () => { closeTip(); cursor.style.visibility = 'hidden'; text.querySelectorAll('.on').forEach(s => s.classList.remove('on')); }); }
  return box;
}
const home = document.getElementById('rollouts'), cards = data.rollouts.map(card);
home.append(...cards);
const kinds = { all: () => true, right: r => r.correct === true, wrong: r => r.correct === false, flipped: r => r.flipped, early: r => r.step <= data.middle, late: r => r.step > data.middle };
function choose(id, set) { document.getElementById(id).addEventListener('click', e => { const b = e.target.closest('button'); if (!b) return;
  b.parentNode.querySelectorAll('button').forEach(o => o.setAttribute('aria-pressed', o === b)); set(b.dataset.to); }); }
choose('coloring', to => { coloring = to; paint(); });
choose('kind', to => { kind = to; let n = 0; cards.forEach((c, i) => { const on = kinds[kind](data.rollouts[i]); c.hidden = !on; n += on; }); document.getElementById('count').textContent = `${n} of ${cards.length} rollouts`; });
document.getElementById('count').textContent = `${cards.length} rollouts`;
paint();
