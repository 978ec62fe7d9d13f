import { windowsNameText } from '../../../../src/lib/x509/windows-name.ts';
import type { TestPki } from '../../../../src/sandbox/certificates.ts';

/** The publisher that a package by the test certificate has to name. */
export const publisherOf = ({ codeSigning }: Pick<TestPki, 'codeSigning'>): string =>
  windowsNameText(codeSigning.certificate.subjectDer, 'the test certificate');
