/** The hash that draws users into the control group and the arms of a campaign. */

/**
 * A number from 0 to 2³² - 1: the first 8 hex digits of SHA-256.
 *
 * A user is in the control group if `draw('control-v1:' + id) < share * 2 ** 32`, and in the first arm whose
 * cumulated share exceeds `draw('arm-v1:' + campaign + ':' + id) / 2 ** 32`.
 *
 * @param {string} text Salt and id.
 */
export async function draw(text) {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return new DataView(digest).getUint32(0);
}
