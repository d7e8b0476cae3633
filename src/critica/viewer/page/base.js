// What every page does: small helpers, definitions on pointer and focus, ways to sections. Asks no network.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const byId = id => document.getElementById(id);
const css = name => { const made = getComputedStyle(document.documentElement).getPropertyValue(name).trim(), inner = made.match(/^var\((.+)\)$/); return inner ? css(inner[1]) : made; };
const unknown = x => x === null || x === undefined;
const show = (x, digits = 3) => unknown(x) ? '–' : Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(1) : (+x.toFixed(digits) + 0).toFixed(digits);
const signed = (x, digits = 3) => unknown(x) ? '–' : (x > 0 ? '+' : '') + show(x, digits);
const tip = byId('tip');
const placeTip = (x, y) => {
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(x - w / 2, innerWidth - w - 8)) + 'px';
  tip.style.top = (y + 18 + h > innerHeight ? Math.max(8, y - h - 14) : y + 18) + 'px';
};
const openTip = (node, x, y) => { tip.replaceChildren(...(Array.isArray(node) ? node : [node])); tip.style.visibility = 'visible'; placeTip(x, y); };
const closeTip = () => { tip.style.visibility = 'hidden'; };
const tipOf = e => e.target.closest && e.target.closest('[data-tip]');
const openTipOf = t => { const b = t.getBoundingClientRect(); openTip($('div', '', t.dataset.tip), b.left + b.width / 2, b.bottom - 8); };
document.addEventListener('mouseover', e => { const t = tipOf(e); if (t) openTipOf(t); });
document.addEventListener('mouseout', e => { if (tipOf(e)) closeTip(); });
document.addEventListener('focusin', e => { const t = tipOf(e); if (t && t.matches(':focus-visible')) openTipOf(t); else closeTip(); });
document.addEventListener('keydown', e => { if (e.key === 'Escape') closeTip(); });
addEventListener('scroll', closeTip, { passive: true });
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
const goTo = section => { section.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' }); section.focus({ preventScroll: true }); };
function choose(id, set) {
  byId(id).addEventListener('click', e => { const b = e.target.closest('button'); if (b) { press(id, b.dataset.to); set(b.dataset.to); } });
}
const press = (id, to) => byId(id).querySelectorAll('button').forEach(o => o.setAttribute('aria-pressed', o.dataset.to === to));
