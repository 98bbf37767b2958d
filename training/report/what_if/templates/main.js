// From a change of a control to what the model says of it.

const QUIET_MILLISECONDS = 700; // A screen reader hears the answer once the changes have ceased.

const facts = JSON.parse(document.getElementById('facts').textContent);
const values = {};
let session = null;
let waiting = false;
let running = false;
let telling = 0;
let start = facts.starts[0]; // the user from whom a change is counted

const controls = buildControls(document.getElementById('controls'), facts.features, (name, value) => {
  values[name] = value;
  update();
});
const buttons = buildStarts(document.getElementById('starts'), facts.starts, (chosen) => begin(chosen));
buildGauge(document.getElementById('gauge'), facts);

/** Set every control; the score is compared with that of `from`, by default the same values. */
function begin(from, now = from.values) {
  start = from;
  markStart(buttons, facts.starts.indexOf(from));
  facts.features.forEach(({ name }, n) => {
    values[name] = now[name];
    controls[n].show(values[name]);
  });
  update();
}

/** Set what a row says; it is compared with a typical user if a link names one. */
function beginWith(title, row, from) {
  const user = userOfRow(facts.features, row, values);
  if (!user.read) throw new Error(`No column is a feature of this model: ${someOf(user.ignored)}.`);
  begin(from ?? { title, values: user.values }, user.values);
  return user;
}

function tellRow(words) {
  document.getElementById('row-told').textContent = words;
}

function pasteRow() {
  try {
    const row = pastedRow(document.getElementById('row-text').value);
    tellRow(rowWords(facts.features, beginWith('Pasted user', row)));
  } catch (error) {
    tellRow(error.message);
  }
}

function openLink() {
  const found = linkedRow(location.hash, facts.starts);
  if (found === null) return;
  try {
    const user = beginWith('Linked user', found.row, found.start);
    const isWhole = !(user.problems.length || user.absent.length || user.ignored.length);
    tellRow(isWhole ? '' : `The link is of another model or was changed. ${rowWords(facts.features, user)}`);
  } catch (error) {
    tellRow(error.message);
  }
}

async function copyLink() {
  history.replaceState(null, '', linkOf(facts.features, facts.starts, start, values));
  try {
    await navigator.clipboard.writeText(location.href);
    tellRow('The link is copied. It opens this page with these values.');
  } catch {
    tellRow('The address of the page is now the link. It opens this page with these values.');
  }
}

/** Score the values as they are now; while one answer is made the last change waits, the others go. */
async function update() {
  waiting = true;
  if (running || session === null) return;
  running = true;
  while (waiting) {
    waiting = false;
    const [asked, from] = [{ ...values }, start];
    from.said ??= await scored(session, facts.features, from.values);
    const said = await scored(session, facts.features, asked);
    if (!waiting) show(asked, said, from);
  }
  running = false;
}

function show(asked, said, from) {
  const answer = document.getElementById('answer');
  const band = showScore(facts, said);
  const segment = showSegment(facts, said, band);
  const clash = showContradictions(facts.features, controls, asked);
  showChange(from, said);
  showDrivers(facts, asked, said);
  showEffects(controls, said);
  answer.dataset.probability = String(said.probability);
  answer.dataset.segment = String(said.segment);
  answer.dataset.drivers = said.drivers.map((n) => facts.features[n].name).join(' ');
  answer.setAttribute('aria-busy', 'false');
  clearTimeout(telling);
  telling = setTimeout(() => {
    document.getElementById('told').textContent =
      `${percent(said.probability)}, ${facts.bands[band]} band${segment && `, ${segment}`}. ${clash}`.trim();
  }, QUIET_MILLISECONDS);
}

function tellTrouble(error) {
  const trouble = document.getElementById('trouble');
  trouble.hidden = false;
  trouble.textContent = `The model cannot be run in this browser (${error.message}). A newer one may do.`;
}

document.getElementById('row-use').addEventListener('click', pasteRow);
document.getElementById('copy-link').addEventListener('click', copyLink);
document.getElementById('reset').addEventListener('click', () => begin(start));
addEventListener('hashchange', openLink);
begin(start);
openLink();
openModel().then((opened) => {
  session = opened;
  return update();
}).catch(tellTrouble);
