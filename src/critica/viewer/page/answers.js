// The answers: a list to step through, one open answer with its tokens, and what its credit was made of.
// A token is [text, sampled, value, [q10 q25 q50 q75 q90], advantage, log-prob].
const quantile = (xs, p) => { const s = xs.filter(x => !unknown(x)).map(Math.abs).sort((a, b) => a - b); return s.length ? s[Math.min(s.length - 1, Math.floor(p * s.length))] : 1; };
const all = data.rollouts;
all.forEach(r => { // a token's change: the next value less its own; the last one's, what was told less its value
  let next = null;
  const whole = r.start + r.tokens.length >= r.end;
  for (let i = r.tokens.length - 1; i >= 0; i--) { const t = r.tokens[i]; if (t[2] === null) continue; t[6] = next !== null ? next - t[2] : whole && !unknown(r.told) ? r.told - t[2] : null; next = t[2]; }
});
const reachOf = k => quantile(all.flatMap(r => r.tokens.map(t => t[k])), .98) || 1;
const reach = { change: reachOf(6), advantage: reachOf(4), logprob: reachOf(5) };
const strength = {
  value: (t, r) => t[2] === null ? null : 2 * (t[2] - r.low) / ((r.high - r.low) || 1) - 1,
  change: t => unknown(t[6]) ? null : t[6] / reach.change,
  advantage: t => t[4] === null ? null : t[4] / reach.advantage,
  logprob: t => t[5] === null ? null : t[5] / reach.logprob,
};
const scales = {
  value: () => { const r = all[open] || { low: 0, high: 1 }; return [show(r.low, 2), show(r.high, 2), 'expected reward']; },
  change: () => [show(-reach.change, 2), '+' + show(reach.change, 2), 'value after − before'],
  advantage: () => [show(-reach.advantage, 2), '+' + show(reach.advantage, 2), 'credit (98% inside)'],
  logprob: () => [show(-reach.logprob, 2), '0', 'log-probability [nats]'],
};
const kinds = { all: () => true, right: r => r.correct === true, wrong: r => r.correct === false, flipped: r => r.flipped, surprising: r => r.surprising,
  dropped: r => r.state !== 'trained', early: r => r.step <= data.middle, late: r => r.step > data.middle };
let coloring = 'value', kind = 'all', open = -1, token = -1, shown = [];
const list = byId('list'), detail = byId('detail');
const tint = x => { const c = Math.max(-1, Math.min(1, x)); return `rgba(var(${c >= 0 ? '--high' : '--low'}), calc(var(--strength) * ${Math.abs(c).toFixed(3)}))`; };
const seen = text => text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/ /g, '␣') || '(empty)';
const spread = t => t[3].length > 0 && t[3][4] > t[3][0];
const textOf = r => r.tokens.filter(t => t[1]).map(t => t[0]).join('');
const mark = c => unknown(c) ? '?' : c ? '✓' : '✗';
const markOf = c => { const m = $('span', 'mark ' + (unknown(c) ? '' : c ? 'right' : 'wrong'), mark(c)); m.title = unknown(c) ? 'no outcome' : c ? 'right' : 'wrong'; return m; };

function option(r, n) {
  const o = $('div', 'option'); o.id = 'option-' + n; o.setAttribute('role', 'option'); o.dataset.n = n;
  const top = $('div', 'top'); top.append(markOf(r.correct), $('span', 'mono line', seen(textOf(r)).slice(0, 80)));
  const below = $('div', 'below'); below.append(`step ${r.step} · told ${show(r.told, 2)} · credit ${signed(r.credit, 2)}`);
  if (r.flipped) below.append($('span', 'flag', '⚑ noise')); if (r.state !== 'trained') below.append($('span', 'flag', r.state));
  o.append(top, below);
  return o;
}
function filter(to) {
  kind = to; press('kind', to);
  shown = all.map((_, n) => n).filter(n => kinds[kind](all[n]));
  list.replaceChildren(...shown.map(n => option(all[n], n)));
  byId('count').textContent = shown.length ? `${shown.length} of ${all.length} answers` : `no such answer among the ${all.length} shown`;
  if (!shown.includes(open)) openAnswer(shown.length ? shown[0] : -1); else markOpen();
}
function markOpen() {
  list.querySelectorAll('.option').forEach(o => o.setAttribute('aria-selected', +o.dataset.n === open));
  const o = byId('option-' + open);
  if (o) { list.setAttribute('aria-activedescendant', o.id); const l = list.getBoundingClientRect(), b = o.getBoundingClientRect(); if (b.top < l.top) list.scrollTop += b.top - l.top - 4; else if (b.bottom > l.bottom) list.scrollTop += b.bottom - l.bottom + 4; }
  else list.removeAttribute('aria-activedescendant');
}
function openAnswer(n, place) {
  open = n; token = -1; markOpen();
  if (n < 0) { detail.replaceChildren($('p', 'note', 'Nothing to show.')); return; }
  draw(all[n]); paint();
  if (place !== undefined) { const i = place - all[n].start; if (i >= 0 && i < all[n].tokens.length) select(i); }
}
function openById(id, place) {
  const n = all.findIndex(r => r.trajectory_id === id);
  if (n < 0) return false;
  if (!kinds[kind](all[n])) { open = n; filter('all'); }
  openAnswer(n, place); return true;
}

// One answer ------------------------------------------------------------------------------------------------------
const row = (table, cells, cls) => { const tr = $('tr', cls); cells.forEach((c, i) => { const td = $('td', i === 1 ? 'n mono' : ''); td.append(c); tr.append(td); }); table.append(tr); };
function because(r) {
  if (r.state !== 'trained') return `Not learned from: ${r.state} (${r.reason}).`;
  if (unknown(r.told)) return 'It has no outcome, so it has no credit.';
  const expected = unknown(r.expected) ? '' : `, where ${show(r.expected, 2)} was expected before its first token`;
  const push = unknown(r.credit) ? '' : Math.abs(r.credit) < 5e-4 ? ': its tokens were left as likely as they were' : r.credit > 0 ? ': on the whole its tokens were made likelier' : ': on the whole its tokens were made less likely';
  const wrong = r.correct === true && r.credit < 0 || r.correct === false && r.credit > 0;
  const truth = unknown(r.clean) ? '' : r.flipped ? ` The truth was ${show(r.clean, 2)}: noise changed what was said${wrong ? ', and the push goes the wrong way' : ''}.` : wrong ? ` By the truth (${show(r.clean, 2)}) this push goes the wrong way.` : '';
  return `Told ${show(r.told, 2)}${expected}${push} (mean credit ${signed(r.credit, 2)}).${truth}`;
}
function arithmetic(r) {
  const t = $('table', 'arithmetic'), known = r.tokens.filter(x => x[4] !== null), first = known[0], last = known[known.length - 1];
  row(t, ['clean reward', show(r.clean), 'the truth; training never saw it']);
  if (!unknown(r.said)) row(t, ['said', show(r.said), r.flipped ? 'the source’s verdict, changed by noise' : 'the source’s verdict']);
  row(t, ['told', show(r.told), unknown(r.said) || Math.abs(r.said - r.told) < 1e-6 ? 'what training saw' : 'what training saw, after correction and placing']);
  if (!unknown(r.siblings_told)) row(t, ['its siblings', show(r.siblings_told), 'mean told reward of the other answers to the prompt']);
  if (!unknown(r.expected)) row(t, ['expected', show(r.expected), 'the critic’s value before the first token']);
  if (!unknown(r.expected) && !unknown(r.told)) row(t, ['told − expected', signed(r.told - r.expected), 'surprise over the whole answer'], 'sum');
  if (!unknown(r.credit)) row(t, ['credit', signed(r.credit), `mean advantage of its tokens: number ${r.rank} of ${r.ranked} in its step`], 'sum');
  if (first && last !== first) { row(t, ['first token', signed(first[4]), 'its advantage']); row(t, ['last token', signed(last[4]), 'its advantage: the last that is shown']); }
  row(t, ['rule', '', `${r.rule || '–'}: what made credit of rewards and values`]);
  const box = $('div', 'scroll'); box.append(t);
  return box;
}
function siblings(r) {
  const members = data.groups[r.group] || [], t = $('table'), head = $('tr');
  ['answer', 'told', 'clean', 'expected', 'credit'].forEach((h, i) => head.append($('th', i ? 'n' : '', h))); t.append(head);
  members.forEach(m => {
    const tr = $('tr', m.trajectory_id === r.trajectory_id ? 'me' : ''), first = $('td'), can = all.some(o => o.trajectory_id === m.trajectory_id) && m.trajectory_id !== r.trajectory_id;
    const name = $(can ? 'button' : 'span', can ? 'link mono' : 'mono', seen(m.text).slice(0, 60)); if (can) name.dataset.open = m.trajectory_id;
    first.append(markOf(m.correct), ' ', name, m.flipped ? ' ⚑' : '', m.state !== 'trained' ? ` (${m.state})` : '');
    tr.append(first, ...[m.told, m.clean, m.expected].map(x => $('td', 'n', show(x, 2))), $('td', 'n', signed(m.credit, 2))); t.append(tr);
  });
  const box = $('div', 'scroll'); box.tabIndex = 0; box.setAttribute('role', 'region'); box.setAttribute('aria-label', 'answers to the same prompt'); box.append(t);
  return box;
}
function badges(r) {
  const box = $('div', 'badges'), badge = (cls, text, about) => { const b = $('span', 'badge ' + cls, text); b.dataset.tip = about; box.append(b); };
  if (r.flipped) badge('flipped', '⚑ changed by noise', 'Injected noise changed this reward: what training was told is not the truth.');
  badge(unknown(r.correct) ? '' : r.correct ? 'right' : 'wrong', unknown(r.correct) ? 'no outcome' : r.correct ? '✓ right' : '✗ wrong', 'By the clean outcome.');
  badge('', `told ${show(r.told, 2)}`, 'The reward that training saw.'); badge('', `clean ${show(r.clean, 2)}`, 'The reward before injected noise; training never sees it.');
  if (r.state !== 'trained') badge('crossed', r.state, r.reason);
  badge('', r.stop.replaceAll('_', ' '), 'Why the trajectory ended.');
  return box;
}
function draw(r) {
  const head = $('div', 'head'), title = $('div', 'title'), text = $('div', 'text mono');
  title.append($('b', '', `step ${r.step}`), ` · ${r.trajectory_id} · ${r.length} tokens`); head.append(title, badges(r));
  text.id = 'text'; text.tabIndex = 0; text.setAttribute('role', 'group'); text.setAttribute('aria-label', 'the answer’s tokens: left and right arrows step through them');
  r.tokens.forEach((t, i) => { const s = $('span', t[1] ? '' : 'read', t[0]); s.dataset.i = i; text.append(s); });
  const written = r.tokens.filter(t => t[1]).length, parts = [head, $('p', 'because', because(r)), $('div', 'prompt', r.prompt), text], panel = $('div', 'panel');
  if (written < r.length) parts.push($('div', 'note', `${written} of ${r.length} written tokens are shown`));
  const band = bandOf(r); if (band) parts.push(band, $('div', 'note', `the mean value${r.tokens.some(spread) ? ' with its 50% and 80% bands' : ''}; dashed: told, dotted: clean`));
  panel.id = 'token'; panel.setAttribute('role', 'status'); panel.append($('span', 'note', 'Press a token, or step with the arrow keys, to read its numbers.'));
  parts.push(panel);
  if (r.answer) parts.push($('div', 'note', `reference answer: ${r.answer}`));
  parts.push($('h3', '', 'What its credit was made of'), arithmetic(r));
  if ((data.groups[r.group] || []).length > 1) parts.push($('h3', '', 'Answers to the same prompt'), siblings(r));
  detail.replaceChildren(...parts);
  const at = e => { const b = band.getBoundingClientRect(); return Math.max(0, Math.min(r.tokens.length - 1, Math.round((e.clientX - b.left) / b.width * (r.tokens.length - 1)))); };
  if (band) band.addEventListener('click', e => select(at(e)));
  text.addEventListener('click', e => { const s = e.target.closest('span[data-i]'); if (s) select(+s.dataset.i); });
}
function select(i) {
  const r = all[open], t = r.tokens[i], text = byId('text');
  token = i;
  text.querySelectorAll('.on').forEach(s => s.classList.remove('on'));
  const span = text.children[i]; span.classList.add('on');
  byId('token').replaceChildren(...tokenNodes(t, r, i));
  const cursor = detail.querySelector('.cursor'), x = 1000 * i / Math.max(r.tokens.length - 1, 1);
  if (cursor) { cursor.setAttribute('x1', x); cursor.setAttribute('x2', x); cursor.style.visibility = 'visible'; }
}
function tokenNodes(t, r, i) {
  const nodes = [], title = $('div', 'tok'), table = $('table');
  title.append($('code', '', seen(t[0])), $('span', 'note', t[1] ? ` place ${r.start + i}` : ' read, not written'));
  nodes.push(title);
  if (spread(t)) nodes.push(strip(t, r));
  const next = unknown(t[6]) ? null : t[2] + t[6];
  if (t[2] !== null) row(table, ['value', show(t[2]), 'expected before this token']);
  if (next !== null) row(table, ['surprise', signed(t[6]), `then ${show(next)}${r.tokens.slice(i + 1).some(u => u[2] !== null) ? '' : ', as it was told'}`]);
  if (t[4] !== null) row(table, ['advantage', signed(t[4]), Math.abs(t[4]) < 5e-4 ? 'left as it is' : t[4] > 0 ? 'made likelier' : 'made less likely']);
  if (t[5] !== null) row(table, ['log-prob', show(t[5]), `probability ${show(Math.exp(t[5]))}`]);
  if (spread(t)) row(table, ['quantiles', '', data.levels.map((level, k) => `${level}: ${show(t[3][k], 2)}`).join('  ')]);
  nodes.push(table);
  return nodes;
}
function strip(t, r) {
  const x = v => (4 + 222 * Math.max(0, Math.min(1, (v - r.low) / ((r.high - r.low) || 1)))).toFixed(1), q = t[3], holder = $('div'), marks = [['told', r.told], ['clean', r.clean]].filter(m => !unknown(m[1]));
  holder.innerHTML = `<svg class="strip" viewBox="0 0 230 34" aria-hidden="true"><line x1="4" x2="226" y1="14" y2="14" style="stroke:var(--line)"/>` +
    `<rect x="${x(q[0])}" width="${Math.max(1, x(q[4]) - x(q[0]))}" y="9" height="10" rx="2" style="fill:rgba(var(--high),.2)"/><rect x="${x(q[1])}" width="${Math.max(1, x(q[3]) - x(q[1]))}" y="9" height="10" style="fill:rgba(var(--high),.4)"/>` +
    `<line x1="${x(q[2])}" x2="${x(q[2])}" y1="6" y2="22" style="stroke:rgb(var(--high));stroke-width:2"/>` +
    marks.map(([n, v], i) => `<circle cx="${x(v)}" cy="14" r="${i ? 2.6 : 4.4}" style="fill:${i ? `var(--${n})` : 'none'};stroke:var(--${n});stroke-width:1.6"/>`).join('') +
    `<text x="4" y="33" style="font-size:10px;fill:var(--soft)">${show(r.low, 1)}</text><text x="226" y="33" text-anchor="end" style="font-size:10px;fill:var(--soft)">${show(r.high, 1)}</text></svg>`;
  return holder.firstChild;
}
function bandOf(r) {
  const known = r.tokens.map((t, i) => [t, i]).filter(([t]) => t[2] !== null);
  if (known.length < 2) return null;
  const span = Math.max(r.tokens.length - 1, 1), x = i => (1000 * i / span).toFixed(1), y = v => (54 - 52 * Math.max(-.1, Math.min(1.1, (v - r.low) / ((r.high - r.low) || 1)))).toFixed(1);
  const area = (a, b) => 'M' + known.map(([t, i]) => `${x(i)},${y(t[3][a])}`).join('L') + 'L' + known.slice().reverse().map(([t, i]) => `${x(i)},${y(t[3][b])}`).join('L') + 'Z';
  const line = (name, v, dash) => unknown(v) ? '' : `<line class="${name}" x1="0" x2="1000" y1="${y(v)}" y2="${y(v)}" stroke-width="1.3" stroke-dasharray="${dash}"/>`;
  const bands = known.every(([t]) => t[3].length) ? `<path class="outer" d="${area(0, 4)}"/><path class="inner" d="${area(1, 3)}"/>` : '';
  const holder = $('div');
  holder.innerHTML = `<svg class="band" viewBox="0 0 1000 56" preserveAspectRatio="none" aria-hidden="true"><line class="edge" x1="0" x2="1000" y1="2" y2="2"/><line class="edge" x1="0" x2="1000" y1="54" y2="54"/>${line('told', r.told, '5 3')}${line('clean', r.clean, '1.5 4')}${bands}` +
    `<path class="mean" d="M${known.map(([t, i]) => `${x(i)},${y(t[2])}`).join('L')}"/><line class="cursor" x1="0" x2="0" y1="0" y2="56"/></svg>`;
  return holder.firstChild;
}
function paint() {
  const r = all[open], text = byId('text');
  if (text) [...text.children].forEach((span, i) => { const t = r.tokens[i], x = t[1] ? strength[coloring](t, r) : null; span.style.background = x === null ? 'none' : tint(x); });
  const [low, high, what] = scales[coloring](), bar = $('i');
  bar.style.background = `linear-gradient(90deg, ${(coloring === 'logprob' ? [-1, -.75, -.5, -.25, 0] : [-1, -.5, 0, .5, 1]).map(tint).join(', ')})`;
  byId('scale').replaceChildren($('span', '', low), bar, $('span', '', high), $('span', '', what));
}
const color = to => { coloring = to; press('coloring', to); paint(); };

// Pointer and keyboard --------------------------------------------------------------------------------------------
choose('coloring', color);
choose('kind', filter);
list.addEventListener('click', e => { const o = e.target.closest('.option'); if (o) openAnswer(+o.dataset.n); });
list.addEventListener('keydown', e => {
  const at = shown.indexOf(open), to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[e.key];
  if (to !== undefined) { e.preventDefault(); if (shown.length) openAnswer(shown[Math.max(0, Math.min(shown.length - 1, to))]); }
  if ((e.key === 'Enter' || e.key === 'ArrowRight') && byId('text')) { e.preventDefault(); byId('text').focus(); }
  if (e.key === 'Escape') { if (kind !== 'all') filter('all'); }
});
detail.addEventListener('keydown', e => {
  if (e.key === 'Escape') { e.preventDefault(); const r = all[open]; if (r) { draw(r); paint(); token = -1; } list.focus({ preventScroll: true }); return; }
  if (e.target.id !== 'text') return;
  const count = all[open].tokens.length, to = { ArrowRight: token + 1, ArrowLeft: token < 0 ? count - 1 : token - 1, Home: 0, End: count - 1 }[e.key];
  if (to !== undefined) { e.preventDefault(); if (count) select(Math.max(0, Math.min(count - 1, to))); }
  const step = { ArrowDown: 1, ArrowUp: -1 }[e.key], at = shown.indexOf(open) + step;
  if (step) { e.preventDefault(); if (shown[at] !== undefined) { openAnswer(shown[at]); byId('text').focus({ preventScroll: true }); } }
});
document.addEventListener('click', e => {
  const jump = e.target.closest('[data-open]');
  if (jump) { const place = jump.dataset.place; if (openById(jump.dataset.open, place === undefined ? undefined : +place)) { if (place !== undefined) color('change'); goTo(byId('answers')); } return; }
  const ask = e.target.closest('a[data-kind]');
  if (ask) filter(ask.dataset.kind);
});
document.querySelectorAll('button[data-open]').forEach(b => { if (!all.some(r => r.trajectory_id === b.dataset.open)) { b.replaceWith($('span', 'mono', b.textContent)); } });
const copy = byId('copy');
copy.addEventListener('click', () => { const range = document.createRange(); range.selectNodeContents(byId('command')); getSelection().removeAllRanges(); getSelection().addRange(range); document.execCommand('copy'); copy.textContent = 'copied'; });
filter('all');
