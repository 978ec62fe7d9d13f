import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect young objects after each MB of them for good, as it begins, and not after 16: a large
 * buffer goes with the small object that holds it. A signer with a program of 79 MB in hand takes 25 MB
 * less for it, and less time, since what it works on stays in the processor's cache. For a process in
 * which objects are few and buffers large.
 */
export const collectYoungOften = (): void => setFlagsFromString('--semi-space-growth-factor=1');
