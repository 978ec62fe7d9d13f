/** The package comes without types. */
declare module 'proxy-from-env' {
  /** URL of the proxy for a URL, as the environment names it; empty for none. */
  export function getProxyForUrl(url: string): string;
}
