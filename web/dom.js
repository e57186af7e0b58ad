/**
 * Makes an element. Text and attributes only, so that nothing of what users write is ever markup. Functions are listeners, `true` is an
 * attribute without a value, `false`, null and undefined are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** A button with a text. */
export function button(text, click, attributes = {}) {
  return el('button', { type: 'button', click, ...attributes }, text);
}

/** A line drawing, by its path in a field of 24 × 24. */
export function icon(path) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.append(document.createElementNS(svg.namespaceURI, 'path'));
  svg.firstChild.setAttribute('d', path);
  for (const [name, value] of [['class', 'icon'], ['viewBox', '0 0 24 24'], ['aria-hidden', 'true']]) svg.setAttribute(name, value);
  return svg;
}

/** A coloured letter for a user or group. */
export function avatar(name, id = name) {
  const node = el('span', { class: 'avatar', 'aria-hidden': 'true' }, (Array.from(name)[0] ?? '?').toUpperCase());
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) % 360;
  node.style.setProperty('--hue', hash);
  return node;
}

/**
 * Brings a list's children in line with `rows`: `{key, look, build()}`. A row is built anew when its look, a JSON value, is another; the focus
 * stays on the same `data-action`.
 */
export function reconcile(list, rows) {
  const old = new Map([...list.children].map((node) => [node.rowKey, node]));
  let at = list.firstElementChild;
  for (const { key, look, build } of rows) {
    const text = JSON.stringify(look);
    let node = old.get(key);
    old.delete(key);
    if (node?.rowLook !== text) {
      const action = node?.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
      const made = Object.assign(build(), { rowKey: key, rowLook: text });
      if (node === at) at = node?.nextElementSibling ?? null;
      node?.remove();
      list.insertBefore(made, at);
      if (action !== undefined) made.querySelector(`[data-action="${action}"]`)?.focus();
      continue;
    }
    if (node === at) at = at.nextElementSibling;
    else list.insertBefore(node, at);
  }
  for (const node of old.values()) node.remove();
}
