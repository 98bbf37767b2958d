// A link that carries a user: the values after the #, which no browser sends to a server.

const LINK = /^#(?:from-(\d{1,4})|user)\?(.*)$/s;

/** The part of the address after the page: the start, if it is a typical user, and every value. */
function linkOf(features, starts, start, values) {
  const number = starts.indexOf(start);
  const fields = features.map(({ name }) => [name, String(values[name] ?? '')]);
  return `#${number < 0 ? 'user' : `from-${number}`}?${new URLSearchParams(fields)}`;
}

/** The row and the start of a link; null if the address holds none. */
function linkedRow(hash, starts) {
  const found = hash.length <= LONGEST_ROW && LINK.exec(hash);
  return found ? { row: new Map(new URLSearchParams(found[2])), start: starts[found[1]] } : null;
}
