"""What tests ask of a page in a browser, in its own language."""

# What reaches over the right edge though no region that scrolls holds it, and what its own box cuts.
OVERFLOWING = """width => [...document.querySelectorAll('body *')].filter(e => {
  if (e.closest('svg') && e.tagName !== 'svg') return false;
  if (e.matches('.skip, .unseen, title')) return false;
  const box = e.getBoundingClientRect();
  const region = e.parentElement.closest('.scroll');
  const scrolls = region && getComputedStyle(region).overflowX === 'auto';
  const outside = !scrolls && (box.right > width + 0.5 || box.left < -0.5);
  const style = getComputedStyle(e);
  const cut = style.overflowX !== 'visible' && style.overflowX !== 'auto'
    && e.scrollWidth > e.clientWidth + 1;
  return outside || cut;
}).map(e => `${e.tagName} ${e.className.baseVal ?? e.className}: ${e.textContent.trim().slice(0, 60)}`)"""

# Texts of a picture that run into one another or over its edges.
COLLIDING = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const edge = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim())
    .map(t => ({words: t.textContent, box: t.getBoundingClientRect()}));
  const outside = texts.filter(({box}) => box.left < edge.left - 1 || box.right > edge.right + 1
    || box.top < edge.top - 1 || box.bottom > edge.bottom + 1).map(t => `outside: ${t.words}`);
  const over = texts.flatMap((a, n) => texts.slice(n + 1).filter(b =>
    Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1
    && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 4)
    .map(b => `${a.words} over ${b.words}`));
  return [...outside, ...over];
})"""

FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  const all = [...document.querySelectorAll('*')];
  return {number: all.indexOf(e), outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
    visible: box.left >= 0 && box.bottom > 0 && box.top < innerHeight};
}"""

_LUMINANCE = """
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => channels(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
"""

BRIGHTNESS = f"""() => {{ {_LUMINANCE}
  return luminance(getComputedStyle(document.body).backgroundColor);
}}"""

# The contrast (WCAG 2.2) of every text with what lies behind it, or of every filled mark of a picture.
CONTRASTS = f"""kind => {{ {_LUMINANCE}
  const behind = e => {{
    for (; e; e = e.parentElement) {{
      const colour = getComputedStyle(e).backgroundColor;
      if (!/^rgba.*, 0\\)$/.test(colour)) return colour;
    }}
    return 'rgb(255, 255, 255)';
  }};
  const contrast = (a, b) => {{
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  }};
  const shown = e => e.getClientRects().length && getComputedStyle(e).visibility === 'visible';
  const found = [];
  if (kind === 'text') {{
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; node = walker.nextNode();) {{
      const e = node.parentElement, words = node.textContent.trim();
      if (!words || !shown(e) || e.matches('title, desc, style')) continue;
      const style = getComputedStyle(e);
      const colour = e.closest('svg') ? style.fill : style.color;
      found.push({{words: words.slice(0, 60), contrast: contrast(colour, behind(e)), colour}});
    }}
  }} else {{
    const marks = '.bar span, svg .mark-rect path, svg .mark-symbol path';
    for (const e of document.querySelectorAll(marks)) {{
      const style = getComputedStyle(e);
      const colour = e.closest('svg') ? style.fill : style.backgroundColor;
      found.push({{words: e.outerHTML.slice(0, 60), contrast: contrast(colour, behind(e.parentElement)), colour}});
    }}
  }}
  return found;
}}"""
