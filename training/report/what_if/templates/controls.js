// A slider or a list for every feature, and the users to start from.

/** An element with its properties, attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && typeof value !== 'string') made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Fill the form; every control gets `show(value)`, and tells `changed(name, value)`. */
function buildControls(form, features, changed) {
  const groups = new Map();
  const controls = features.map((feature, number) => {
    const control = (feature.kind === 'numeric' ? numberControl : listControl)(
      feature, `feature-${number}`, (value) => changed(feature.name, value),
    );
    groups.set(feature.group, [...(groups.get(feature.group) ?? []), control.row]);
    return control;
  });
  for (const [group, rows] of groups) {
    const title = group.charAt(0).toUpperCase() + group.slice(1) || 'Features';
    form.append(element('fieldset', {}, element('legend', {}, title), ...rows));
  }
  form.addEventListener('submit', (event) => event.preventDefault());
  return controls;
}

function numberControl(feature, id, changed) {
  const range = { min: String(shownLimit(feature, 'min')), max: String(shownLimit(feature, 'max')) };
  const slider = element('input', {
    type: 'range', min: '0', max: String(POSITIONS), step: '1', 'aria-label': feature.label,
  });
  const field = element('input', {
    type: 'number', id, step: 'any', 'aria-describedby': `${id}-range`, ...range,
    // The keypad of decimals has no minus on some phones.
    ...(feature.min >= 0 && feature.min !== null ? { inputmode: 'decimal' } : {}),
  });
  const unknown = element('input', { type: 'checkbox', 'aria-label': `${feature.label}: unknown` });
  const effect = element('span', { class: 'effect' });
  let known = feature.stops[0];

  const show = (value) => {
    const missing = value === null;
    known = value ?? known;
    unknown.checked = missing;
    row.classList.toggle('missing', missing);
    slider.value = positionOf(feature, known);
    slider.setAttribute('aria-valuetext', valueWords(feature, value));
    slider.style.setProperty('--at', slider.value / POSITIONS);
    if (document.activeElement !== field) field.value = missing ? '' : shownNumber(feature, known);
    field.removeAttribute('aria-invalid');
  };
  const set = (value) => {
    show(value);
    changed(value);
  };
  slider.addEventListener('input', () => set(valueAt(feature, Number(slider.value))));
  slider.addEventListener('keydown', (event) => {
    const direction = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (direction === undefined) return;
    event.preventDefault();
    set(valueAt(feature, nextPosition(feature, Number(slider.value), known, direction)));
  });
  field.addEventListener('input', () => {
    const valid = field.value !== '' && field.checkValidity();
    field.setAttribute('aria-invalid', String(!valid));
    if (valid) set(isShare(feature) ? Number((field.valueAsNumber / 100).toPrecision(9)) : field.valueAsNumber);
  });
  // What is out of range or no number gives way to the last value that was one.
  field.addEventListener('blur', () => show(unknown.checked ? null : known));
  unknown.addEventListener('change', () => set(unknown.checked ? null : known));

  const row = element('div', { class: 'control' },
    element('label', { for: id }, feature.label),
    element('span', { class: 'value' }, field, element('span', { class: 'unit' }, unitOf(feature))),
    slider,
    element('span', { class: 'below' },
      effect,
      element('span', { class: 'range', id: `${id}-range` }, rangeWords(feature)),
      ...(feature.may_be_missing ? [element('label', { class: 'unknown' }, unknown, 'unknown')] : []),
    ),
  );
  return { row, show, effect };
}

function listControl(feature, id, changed) {
  const options = feature.values.map(({ words }, number) =>
    element('option', { value: String(number) }, words));
  const unknown = element('option', { value: '' }, 'unknown');
  const list = element('select', { id }, ...options, unknown);
  const effect = element('span', { class: 'effect' });
  list.addEventListener('change', () => changed(list.value === '' ? null : feature.values[list.value].value));
  const show = (value) => {
    const number = feature.values.findIndex((each) => each.value === value);
    list.value = number < 0 ? '' : String(number);
  };
  const row = element('div', { class: 'control' },
    element('label', { for: id }, feature.label), list, element('span', { class: 'below' }, effect));
  return { row, show, effect };
}

function shownLimit(feature, end) {
  return feature[end] === null ? '' : shownNumber(feature, feature[end]);
}

function rangeWords(feature) {
  const words = (value) => shownNumber(feature, value).toLocaleString('en-GB').replace('-', '−');
  if (feature.min === null && feature.max === null) return '';
  if (feature.max === null) return `from ${words(feature.min)}`;
  return feature.min === null ? `to ${words(feature.max)}` : `${words(feature.min)} to ${words(feature.max)}`;
}

/** A button for every typical user. */
function buildStarts(group, starts, begin) {
  const buttons = starts.map((start) => {
    const button = element('button', { type: 'button', 'aria-pressed': 'false' }, start.title);
    button.addEventListener('click', () => begin(start));
    return button;
  });
  group.querySelector('.buttons').append(...buttons);
  return buttons;
}

/** Mark the typical user that was begun with; -1 for none. */
function markStart(buttons, number) {
  buttons.forEach((each, n) => each.setAttribute('aria-pressed', String(n === number)));
}
