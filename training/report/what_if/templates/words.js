// A value and its impact in words: the twin of engine/words.py, which gives phrases and effects as data.

const EXACT_BELOW = 10000;
const UNDER_1 = 0.5;
const OVER_99 = 99.5;

/** What an impact does to the odds; `bounds` are the impacts from which the next words hold. */
function effectWords({ bounds, words }, impact) {
  return words[bounds.filter((bound) => Math.fround(impact) >= bound).length];
}

/** A value with what it is; null is a missing value. */
function valueWords({ kind, number, phrases, values }, value) {
  if (value === null) return phrases.missing;
  if (kind === 'categorical') {
    return inPhrase(phrases.value, values.find((each) => each.value === value).spoken);
  }
  const spoken = spokenNumber(number, value);
  if (spoken === 1 && phrases.one) return phrases.one;
  if (spoken === 0 && phrases.zero) return phrases.zero;
  return inPhrase(phrases.value, numberText(number, spoken));
}

function inPhrase(phrase, text) {
  return phrase.replace('{}', () => text);
}

/** A number rounded as people say it. */
function spokenNumber(format, value) {
  const percent = format === 'percent';
  const number = (percent ? 100 : 1) * Math.fround(value);
  const size = Math.abs(number);
  let decimals = 2 - (size > 0 ? Number(size.toExponential().split('e')[1]) : 0);
  if (size < EXACT_BELOW) decimals = Math.max(decimals, 0);
  if (format !== 'plain' && size >= 0.5) decimals = Math.min(decimals, 0);
  if (percent && number > 0 && number < UNDER_1) return UNDER_1;
  if (percent && number >= OVER_99 && number < 100) return OVER_99;
  const unit = Number(`1e${Math.abs(decimals)}`);
  return decimals > 0 ? Math.floor(number * unit + 0.5) / unit : Math.floor(number / unit + 0.5) * unit;
}

function numberText(format, number) {
  const size = Number(Math.abs(number).toPrecision(15));
  const scientific = size > 0 && (size < 1e-4 || size >= 1e15);
  const digits = scientific
    ? size.toExponential().replace(/e-(\d)$/, 'e-0$1')
    : size.toLocaleString('en-US', { maximumSignificantDigits: 15 });
  const text = number < 0 ? `minus ${digits}` : digits;
  if (format !== 'percent') return text;
  return { [UNDER_1]: 'less than 1 %', [OVER_99]: 'over 99 %' }[number] ?? `${text} %`;
}
