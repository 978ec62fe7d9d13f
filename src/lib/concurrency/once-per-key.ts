/** Remembers what `compute` returned for each key, promises of failures too. The keys have to be few. */
export function oncePerKey<K, V>(compute: (key: K) => V): (key: K) => V {
  const results = new Map<K, V>();
  return (key) => {
    const result = results.get(key) ?? compute(key);
    results.set(key, result);
    return result;
  };
}
