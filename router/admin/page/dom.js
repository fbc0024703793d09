// Elements are made and kept here. Every text that comes from elsewhere is a text node, never
// markup.

export const at = (id) => document.getElementById(id);

/** An element. A string among `children` becomes a text node. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener);
      }
    } else if (value !== undefined) set(element, name, value);
  }
  element.append(...children);
  return element;
}

/** Set an attribute, only if that changes something. */
export function set(element, name, value) {
  if (value === null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Show a text, only if that changes something: screen readers and selections notice. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make the children of `parent` those of `items`, and keep those that stay, with their focus.
 * `key` names an item; `create` makes its element; `update` fills it in. */
export function keep(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update(child, item);
  }
  for (const child of known.values()) child.remove();
}
