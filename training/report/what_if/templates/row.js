// A user's row from outside: a pasted line of CSV, a JSON object or the values of a link.

const LONGEST_ROW = 1e6; // characters
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const MISSING_TEXTS = ['', 'NaN', 'nan', 'NAN'];
const TRUE_TEXTS = ['true', 'TRUE', 'True'];
const FALSE_TEXTS = ['false', 'FALSE', 'False'];

/** The values of a row by column; an error says in words why a text holds no row. */
function pastedRow(text) {
  if (text.length > LONGEST_ROW) throw new Error('This is far longer than one row.');
  const row = text.trim();
  if (!row) throw new Error('Paste a row first.');
  return row.startsWith('{') || row.startsWith('[') ? jsonRow(row) : csvRow(text.replace(/^\uFEFF/, ''));
}

function jsonRow(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error('This JSON is not valid. Paste one object: {"column": value}.');
  }
  const row = Array.isArray(found) && found.length === 1 ? found[0] : found;
  if (row === null || typeof row !== 'object' || Array.isArray(row)) {
    throw new Error('Paste one JSON object: {"column": value}.');
  }
  return new Map(Object.entries(row));
}

function csvRow(text) {
  const head = text.split('\n', 1)[0].replace(/"[^"]*"/g, '');
  const separator = ['\t', ',', ';'].find((each) => head.includes(each)) ?? ',';
  const [names, ...rows] = csvLines(text, separator);
  if (rows.length !== 1) throw new Error(`Paste a header and one row: found ${rows.length} rows below the first line.`);
  if (names.length !== rows[0].length) {
    throw new Error(`The header has ${names.length} columns, the row has ${rows[0].length}.`);
  }
  return new Map(names.map((name, n) => [name, rows[0][n]]));
}

/** The fields of every line that is not blank; quotes hold separators, line ends and doubled quotes. */
function csvLines(text, separator) {
  const lines = [];
  let fields = [''];
  let quoted = false;
  const end = () => {
    if (fields.length > 1 || fields[0].trim()) lines.push(fields);
    fields = [''];
  };
  for (const part of text.match(/""|"|\r?\n|[^"\r\n]|\r/g) ?? []) {
    const last = fields.length - 1;
    if (part === '"' || (part === '""' && !quoted)) quoted = part === '"' ? !quoted : quoted;
    else if (quoted) fields[last] += part === '""' ? '"' : part;
    else if (part.endsWith('\n')) end();
    else if (part === separator) fields.push('');
    else fields[last] += part;
  }
  end();
  return lines;
}

/** The values of every feature, those of `before` if a row has none, and in words what was not taken as it is. */
function userOfRow(features, row, before) {
  const values = {};
  const problems = [];
  const absent = [];
  for (const feature of features) {
    const { name } = feature;
    values[name] = before[name];
    if (!row.has(name)) {
      absent.push(feature.label);
      continue;
    }
    const { value, problem } = valueOf(feature, row.get(name));
    if (value !== null || feature.may_be_missing) values[name] = value;
    const kept = value === null && !feature.may_be_missing && 'no value, so unchanged';
    if (problem || kept) problems.push(`${feature.label}: ${problem ?? kept}`);
  }
  const ignored = [...row.keys()].filter((name) => !features.some((feature) => feature.name === name));
  return { values, problems, absent, ignored, read: features.length - absent.length };
}

/** A value as the engine reads it; null if it is missing or, with the problem in words, not valid. */
function valueOf(feature, raw) {
  const text = raw === null || raw === undefined ? '' : String(raw);
  if (MISSING_TEXTS.includes(text.trim()) || feature.missing_texts.includes(text)) return { value: null };
  return feature.kind === 'numeric' ? numberOf(feature, text.trim()) : categoryOf(feature, text);
}

function numberOf(feature, text) {
  const number = TRUE_TEXTS.includes(text) ? 1 : FALSE_TEXTS.includes(text) ? 0 : NUMBER.test(text) ? Number(text) : NaN;
  if (Number.isNaN(number)) return { value: null, problem: 'not a number' };
  if (feature.missing_texts.some((mark) => NUMBER.test(mark) && Number(mark) === number)) return { value: null };
  const { min, max } = feature;
  const inRange = (min === null || number >= min) && (max === null || number <= max);
  return inRange && Number.isFinite(Math.fround(number))
    ? { value: number }
    : { value: null, problem: `out of range${boundsOf(feature)}` };
}

/** The range as the row has its numbers: a share is one of 1, not of 100. */
function boundsOf({ min, max }) {
  const bounds = [min === null ? '' : ` from ${min}`, max === null ? '' : ` to ${max}`].join('');
  return bounds && ` (allowed:${bounds})`;
}

function categoryOf({ values }, text) {
  const spelled = TRUE_TEXTS.includes(text) ? [...TRUE_TEXTS, '1'] : FALSE_TEXTS.includes(text) ? [...FALSE_TEXTS, '0'] : [];
  const found = [text, ...spelled].find((each) => values.some(({ value }) => value === each));
  return found === undefined ? { value: null, problem: 'a category that the model does not know' } : { value: found };
}

/** What became of a row, in sentences. */
function rowWords(features, { problems, absent, ignored, read }) {
  const parts = [`${read} of ${features.length} features read.`];
  if (absent.length) parts.push(`Not in the row, so unchanged: ${someOf(absent)}.`);
  if (problems.length) parts.push(`Not valid: ${someOf(problems, '; ')}.`);
  if (ignored.length) parts.push(`Ignored, as the model does not read them: ${someOf(ignored)}.`);
  return parts.join(' ');
}

function someOf(texts, separator = ', ', most = 6) {
  const shown = texts.slice(0, most).map((text) => (text.length > 120 ? `${text.slice(0, 119)}…` : text)).join(separator);
  return texts.length > most ? `${shown} and ${texts.length - most} more` : shown;
}
