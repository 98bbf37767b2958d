// From a change of a control to what the model says of it.

const QUIET_MILLISECONDS = 700; // A screen reader hears the answer once the changes have ceased.

const facts = JSON.parse(document.getElementById('facts').textContent);
const values = {};
let session = null;
let waiting = false;
let running = false;
let telling = 0;

const controls = buildControls(document.getElementById('controls'), facts.features, (name, value) => {
  values[name] = value;
  update();
});
const starts = buildStarts(document.getElementById('starts'), facts.starts, (start) => {
  facts.features.forEach(({ name }, n) => {
    values[name] = start.values[name];
    controls[n].show(values[name]);
  });
  update();
});
buildGauge(document.getElementById('gauge'), facts);

/** Score the values as they are now; while one answer is made the last change waits, the others go. */
async function update() {
  waiting = true;
  if (running || session === null) return;
  running = true;
  while (waiting) {
    waiting = false;
    const asked = { ...values };
    const said = await scored(session, facts.features, asked);
    if (!waiting) show(asked, said);
  }
  running = false;
}

function show(asked, said) {
  const answer = document.getElementById('answer');
  const band = showScore(facts, said);
  const segment = showSegment(facts, said, band);
  showDrivers(facts, asked, said);
  showEffects(controls, said);
  answer.dataset.probability = String(said.probability);
  answer.dataset.segment = String(said.segment);
  answer.dataset.drivers = said.drivers.map((n) => facts.features[n].name).join(' ');
  answer.setAttribute('aria-busy', 'false');
  clearTimeout(telling);
  telling = setTimeout(() => {
    document.getElementById('told').textContent =
      `${percent(said.probability)}, ${facts.bands[band]} band, ${segment.name}`;
  }, QUIET_MILLISECONDS);
}

function tellTrouble(error) {
  const trouble = document.getElementById('trouble');
  trouble.hidden = false;
  trouble.textContent = `The model cannot be run in this browser (${error.message}). A newer one may do.`;
}

starts[0].click();
openModel().then((opened) => {
  session = opened;
  return update();
}).catch(tellTrouble);
