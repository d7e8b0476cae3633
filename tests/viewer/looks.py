"""Questions to a page in a browser that need a script: contrast of every text, what sticks out, what is in view."""

CONTRAST = """(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const over = (top, below) => { const a = top[3]; return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a)).concat(1); };
  const light = c => [0, 1, 2].map(i => c[i] / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const ground = e => { const layers = []; for (let n = e; n; n = n.parentElement) layers.push(parse(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
  const bad = []; let count = 0;
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility({ visibilityProperty: true }) || e.closest('script, style, #tip')) continue;
    const style = getComputedStyle(e), svg = e.namespaceURI.endsWith('svg');
    const below = ground(svg ? e.closest('svg').parentElement : e);
    const ink = parse(svg ? style.fill : style.color);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    count += 1;
    const found = ratio(over(ink, below), below);
    if (found < (large ? 3 : 4.5)) bad.push(`${found.toFixed(2)} ${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.slice(0, 30)}`);
  }
  return { count, bad: [...new Set(bad)] };
})()"""  # noqa: E501

STICKS_OUT = """(() => { const wide = [...document.querySelectorAll('main *, nav *')].filter(e => {
    if (!e.checkVisibility() || e.closest('.plot')) return false;
    for (let n = e.parentElement; n; n = n.parentElement) if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(n).overflowX)) return false;
    return e.getBoundingClientRect().right > WIDTH + 1 || e.getBoundingClientRect().left < -1; });
  return { page: document.documentElement.scrollWidth, wide: wide.slice(0, 5).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40)) };
})()"""  # noqa: E501

FOCUS = """(() => { const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
  return { id: e.id, tag: e.tagName, text: e.textContent.slice(0, 40), href: e.getAttribute('href'),
    outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, seen: b.bottom > 0 && b.top < innerHeight }; })()"""  # noqa: E501

IN_VIEW = "(() => {{ const b = document.querySelector({selector}).getBoundingClientRect(); return b.top < innerHeight && b.bottom > 0 && b.height > 0; }})()"  # noqa: E501
