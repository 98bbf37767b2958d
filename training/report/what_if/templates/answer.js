// What the model says, in words and bars.

const DRIVERS_SHOWN = 8;
const TICKS = [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];
const MARGIN = 0.35; // Room beside the outermost bar, in log-odds.

/** How many cut-points a probability reaches; one that equals a cut-point reaches it. */
function above(cuts, probability) {
  return cuts.filter((cut) => probability >= cut).length;
}

function buildGauge(gauge, facts) {
  facts.bands.forEach((band, number) => {
    const from = number ? facts.band_cuts[number - 1] : 0;
    const words = number ? `from ${cutPercent(from)}` : `below ${cutPercent(facts.band_cuts[0])}`;
    gauge.append(element('span', { class: 'zone' }, element('b', {}, band), element('small', {}, words)));
  });
  gauge.append(element('i', { class: 'threshold' }), element('i', { class: 'marker' }));
  gauge.querySelector('.threshold').style.setProperty('--at', alongGauge(facts, facts.threshold));
}

/** Where a probability lies along bands of equal width, from 0 to 1. */
function alongGauge({ band_cuts: cuts }, probability) {
  const ends = [0, ...cuts, 1];
  const band = above(cuts, probability);
  const width = ends[band + 1] - ends[band] || 1;
  return (band + Math.min((probability - ends[band]) / width, 1)) / (ends.length - 1);
}

function showScore(facts, { probability }) {
  const band = above(facts.band_cuts, probability);
  const decile = above(facts.decile_cuts, probability) + 1;
  const verb = probability >= facts.threshold ? 'reaches' : 'is below';
  document.getElementById('probability').textContent = percent(probability);
  document.getElementById('meaning').replaceChildren(
    `probability of ${facts.event}: `, element('b', {}, `${facts.bands[band]} band`),
    `, decile ${decile} of 10; it ${verb} the threshold `, element('i', { class: 'key' }),
    ` of ${percent(facts.threshold)}`,
  );
  const gauge = document.getElementById('gauge');
  gauge.querySelectorAll('.zone').forEach((zone, n) => zone.classList.toggle('here', n === band));
  gauge.querySelector('.marker').style.setProperty('--at', alongGauge(facts, probability));
  return band;
}

/** How the probability differs from that of the user begun with. */
function showChange({ title, said: from }, { margin, probability }) {
  const change = document.getElementById('change');
  if (margin === from.margin) {
    change.textContent = `Changes are compared with: ${title}`;
    return;
  }
  change.replaceChildren(
    'from ', element('b', {}, percent(from.probability)), ` (${title}) to `,
    element('b', {}, percent(probability)), `: odds ${oddsFactor(margin - from.margin)}`,
  );
}

/** Point out values of one user that contradict each other; gives the words. */
function showContradictions(features, controls, values) {
  const wrong = features.flatMap((feature, n) => {
    const other = features.findIndex(({ name }) => name === feature.at_least);
    const [own, least] = [values[feature.name], other < 0 ? null : values[features[other].name]];
    return own !== null && least !== null && own < least ? [[n, other]] : [];
  });
  controls.forEach(({ row }, n) => row.classList.toggle('impossible', wrong.some((pair) => pair.includes(n))));
  const said = (n) => valueWords(features[n], values[features[n].name]);
  const words = wrong.map(([n, other]) => `${said(n)}, but ${said(other)}`);
  const note = document.getElementById('impossible');
  note.hidden = !wrong.length;
  note.textContent = wrong.length ? `No user can be like this: ${someOf(words, '; ', 2)}.` : '';
  return note.textContent;
}

/** The action, and the segment where users are told of segments; gives its name. */
function showSegment(facts, { segment }, band) {
  const found = facts.segments.find(({ id }) => id === segment);
  const row = facts.actions.find((each) => each.segment === segment && each.band === band);
  const told = { action: row.action, rationale: row.rationale };
  if (found) {
    told['segment-name'] = found.name;
    told['segment-sentence'] =
      `${sentenceAfterName(found)} ${Math.round(100 * found.share)}${THIN}% of all users.`.trim();
  }
  for (const [id, words] of Object.entries(told)) document.getElementById(id).textContent = words;
  return found ? found.name : '';
}

/** The sentence of a segment without the name that it opens with. */
function sentenceAfterName({ name, sentence }) {
  const rest = sentence.startsWith(`${name}: `) ? sentence.slice(name.length + 2) : sentence;
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

/** Bars from the base value to the score: the named drivers first, as the model orders them. */
function showDrivers(facts, values, { impacts, drivers, margin, probability }) {
  const others = impacts.map((_, n) => n).filter((n) => !drivers.includes(n) && impacts[n] !== 0);
  others.sort((a, b) => Math.abs(impacts[b]) - Math.abs(impacts[a]));
  const named = [...drivers, ...others].slice(0, DRIVERS_SHOWN);
  const rest = others.filter((n) => !named.includes(n));
  const steps = [
    ...named.map((n) => ({
      feature: facts.features[n].name,
      label: valueWords(facts.features[n], values[facts.features[n].name]),
      words: effectWords(facts.effects, impacts[n]),
      impact: impacts[n],
    })),
    ...(rest.length
      ? [{ label: `${rest.length} other feature${rest.length > 1 ? 's' : ''}`, words: '',
           impact: rest.reduce((sum, n) => sum + impacts[n], 0) }]
      : []),
  ];
  let from = facts.base_value;
  const bars = steps.map((step) => ({ ...step, from, to: (from += step.impact) }));
  const ends = [facts.base_value, margin, ...bars.map((bar) => bar.to)];
  const [low, high] = [Math.min(...ends) - MARGIN, Math.max(...ends) + MARGIN];
  const along = (logOdds) => (logOdds - low) / (high - low);
  drawRows(facts, bars, { margin, probability }, along);
  drawAxis(low, high, along);
}

function drawRows(facts, bars, { margin, probability }, along) {
  const base = 1 / (1 + Math.exp(-facts.base_value));
  const rows = [
    endRow('Base value', percent(base), along(facts.base_value)),
    ...bars.map((bar) => barRow(bar, along)),
    endRow('This user', percent(probability), along(margin)),
  ];
  const list = document.getElementById('drivers');
  // Rows that stay keep their elements, so that their bars move and do not jump.
  while (list.children.length > rows.length) list.lastElementChild.remove();
  rows.forEach((row, n) => fillRow(list.children[n] ?? list.appendChild(emptyRow()), row));
}

function emptyRow() {
  return element('li', {},
    element('span', { class: 'label' }), element('span', { class: 'track', 'aria-hidden': 'true' }, element('i')),
    element('span', { class: 'impact' }));
}

function endRow(label, words, at) {
  return { kind: 'end', label, words: '', impact: words, left: at, width: 0, data: {} };
}

function barRow({ feature, label, words, impact, from, to }, along) {
  return {
    kind: impact < 0 ? 'lowers' : 'raises',
    label, words,
    impact: oddsFactor(impact),
    left: along(Math.min(from, to)),
    width: Math.abs(along(to) - along(from)),
    data: feature === undefined ? {} : { feature, impact: String(impact) },
  };
}

function fillRow(row, { kind, label, words, impact, left, width, data }) {
  const [name, track, number] = row.children;
  row.className = kind;
  for (const key of ['feature', 'impact']) {
    if (key in data) row.dataset[key] = data[key];
    else delete row.dataset[key];
  }
  name.replaceChildren(label, ...(words ? [' ', element('small', {}, words)] : []));
  number.textContent = impact;
  track.firstElementChild.style.setProperty('left', `${100 * left}%`);
  track.firstElementChild.style.setProperty('width', `${100 * width}%`);
}

function drawAxis(low, high, along) {
  const logOdds = (share) => Math.log(share / (1 - share));
  const shown = [];
  for (const tick of TICKS) {
    const at = along(logOdds(tick));
    if (at > 0.04 && at < 0.96 && at - (shown.at(-1)?.at ?? -1) > 0.14) shown.push({ tick, at });
  }
  document.getElementById('axis').replaceChildren(...shown.map(({ tick, at }) => {
    const mark = element('span', {}, cutPercent(tick));
    mark.style.setProperty('left', `${100 * at}%`);
    return mark;
  }));
}

function showEffects(controls, { impacts }) {
  controls.forEach(({ effect }, n) => {
    const odds = oddsFactor(impacts[n]);
    const kind = odds === '×1' ? 'none' : impacts[n] < 0 ? 'lowers' : 'raises';
    effect.className = `effect ${kind}`;
    effect.textContent = kind === 'none' ? 'no effect' : `odds ${odds}`;
  });
}
