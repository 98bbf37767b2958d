// Numbers along a slider, and as the page shows them.

const POSITIONS = 1000;
const FAR = 10; // A stop that is so many times the one before is reached by factors, not by steps.
const THIN = '\u202f';

/** The value at a position of a slider: even distances from stop to stop. */
function valueAt({ stops, whole }, position) {
  const pieces = stops.length - 1;
  const piece = Math.min(Math.floor((position / POSITIONS) * pieces), pieces - 1);
  const share = (position / POSITIONS) * pieces - piece;
  const [low, high] = [stops[piece], stops[piece + 1]];
  const exact = isFar(low, high) ? low * (high / low) ** share : low + (high - low) * share;
  const width = isFar(low, high) ? exact : high - low;
  const step = whole ? 1 : 10 ** Math.floor(Math.log10(width / 20));
  const rounded = Number((Math.round(exact / step) * step).toPrecision(6));
  return Math.min(Math.max(rounded, stops[0]), stops[pieces]);
}

/** The position of a value; `valueAt` of it is near the value. */
function positionOf({ stops }, value) {
  const pieces = stops.length - 1;
  const next = stops.findIndex((stop, n) => n > 0 && value <= stop);
  const piece = (next < 0 ? pieces : next) - 1;
  const [low, high] = [stops[piece], stops[piece + 1]];
  const share = isFar(low, high) ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.round(((piece + Math.min(Math.max(share, 0), 1)) / pieces) * POSITIONS);
}

/** The position of the next value in a direction: one key press is one change. */
function nextPosition(feature, position, value, direction) {
  let next = position;
  while (next + direction >= 0 && next + direction <= POSITIONS) {
    next += direction;
    if (valueAt(feature, next) !== value) break;
  }
  return next;
}

function isFar(low, high) {
  return low > 0 && high / low > FAR;
}

/** What people read and write for a value: shares as percent. */
function isShare({ number }) {
  return number === 'percent';
}

function shownNumber(feature, value) {
  return isShare(feature) ? Number((100 * value).toPrecision(6)) : value;
}

function unitOf(feature) {
  return isShare(feature) ? '%' : feature.unit;
}

function percent(probability) {
  const share = 100 * probability;
  const digits = share < 0.1 || share > 99.9 ? 2 : 1;
  return `${share.toFixed(digits)}${THIN}%`;
}

function cutPercent(cut) {
  return `${Number((100 * cut).toPrecision(2))}${THIN}%`;
}

/** A difference in log-odds as a factor on the odds. */
function oddsFactor(logOdds) {
  const factor = Math.exp(logOdds);
  const rounded = Math.abs(factor - 1) < 0.095 ? factor.toFixed(2) : factor.toPrecision(2);
  return `×${Number(rounded).toLocaleString('en-GB')}`;
}
