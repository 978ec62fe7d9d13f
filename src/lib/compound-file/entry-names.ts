/**
 * The order of names in a storage (MS-CFB section 2.6.4): shorter ones first, equally long ones by their UTF-16 code units
 * in upper case. Two names that are equal by this cannot be in one storage.
 */
export function compareNames(one: string, other: string): number {
  if (one.length !== other.length) return one.length - other.length;
  for (let at = 0; at < one.length; at += 1) {
    const difference = upper(one.charCodeAt(at)) - upper(other.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Simple case conversion: a code unit whose upper case takes several stays as it is. */
function upper(unit: number): number {
  if (unit < 0x80) return unit >= 0x61 && unit <= 0x7a ? unit - 0x20 : unit;
  const converted = String.fromCharCode(unit).toUpperCase();
  return converted.length === 1 ? converted.charCodeAt(0) : unit;
}
