import { publisherText } from '../../../../src/engine/formats/msix/publisher.ts';
import type { TestPki } from '../../../../src/sandbox/certificates.ts';

/** The publisher that a package by the test certificate has to name. */
export const publisherOf = ({ codeSigning }: Pick<TestPki, 'codeSigning'>): string =>
  publisherText(codeSigning.certificate.subjectDer, 'the test certificate');
