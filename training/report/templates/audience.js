/* The audience slider: sums the bins above a probability and shows what they amount to. */

const facts = JSON.parse(document.getElementById('audience-facts').textContent);
const QUIET_MILLISECONDS = 400;
const stop = document.getElementById('stop');
const choice = document.getElementById('choice');
const bars = document.querySelectorAll('#histogram .bars');
const { width: pictureWidth, height: pictureHeight } = document.querySelector('#histogram svg').viewBox.baseVal;
let telling = 0;

/** The sum of the bins above the slider; of the bin that it stands in, the part above it. */
function above(values) {
  const first = Math.floor(stop.value / facts.steps);
  const part = (stop.value % facts.steps) / facts.steps;
  return values.slice(first).reduce((sum, value) => sum + value, 0) - values[first] * part;
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const rounded = (number) => Number(number.toPrecision(3));
const count = (number) => Math.round(number).toLocaleString('en-US').replace('-', '−');
const percent = (share, decimals) => `${(100 * share).toFixed(decimals)}\u202f%`;
const put = (id, words) => { const place = document.getElementById(id); if (place) place.textContent = words; };

function drawBars(values) {
  const step = pictureWidth / values.length;
  const top = Math.max(...values);
  const path = values.map((value, n) => (value
    ? `M${n * step} ${pictureHeight}h${step - 1}v${-pictureHeight * value / top}h${1 - step}z` : '')).join('');
  bars.forEach((each) => each.setAttribute('d', path));
}

function show() {
  const all = facts.choices[0];
  const chosen = facts.choices[choice ? choice.value : 0];
  const least = stop.value / facts.steps * facts.width;
  const probability = percent(least, 1);
  const measured = above(chosen.users);
  const few = measured < facts.fewest;
  const users = rounded(measured * facts.scale);
  const buyers = rounded(above(chosen.buyers) * facts.scale);
  const share = percent(measured / total(chosen.users), 0);
  const whole = chosen === all ? (facts.nightly ? 'of the users scored in a night' : 'of the measured users') : 'of this segment';
  const reached = percent(above(chosen.buyers) / total(all.buyers), 0);
  document.getElementById('chosen-area').setAttribute('x', pictureWidth * stop.value / (Number(stop.max) + 1));
  stop.style.setProperty('--at', stop.value / stop.max);
  put('probability', probability);
  document.querySelector('#result dl').hidden = few;
  document.getElementById('few').hidden = !few;
  document.getElementById('command').hidden = few;
  put('users', count(users));
  put('share-of-users', `${share} ${whole}`);
  put('buyers', count(buyers));
  put('share-of-buyers', reached);
  if (chosen.margin) {
    const [margin, cost] = [chosen.margin, chosen.cost].map((values) => rounded(above(values) * facts.scale));
    put('profit', count(rounded(margin - cost)));
    put('margin', count(margin));
    put('cost', count(cost));
  }
  put('command', `engine audience scores.parquet ${chosen.option}--min-probability ${Number(least.toPrecision(6))} --out list.csv`);
  const words = few ? document.getElementById('few').textContent
    : `${count(users)} users, ${share} ${whole}; ${count(buyers)} buyers to expect, ${reached} of all buyers`;
  stop.setAttribute('aria-valuetext', `${probability}: ${words}`);
  clearTimeout(telling);
  telling = setTimeout(() => put('told', words), QUIET_MILLISECONDS);
}

function choose() {
  drawBars(facts.choices[choice ? choice.value : 0].users);
  show();
}

stop.disabled = false;
stop.addEventListener('input', show);
if (choice) {
  choice.disabled = false;
  choice.addEventListener('change', choose);
}
choose();
