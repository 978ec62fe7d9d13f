/** Names that the Open Packaging Conventions (ECMA-376 part 2) and XML-DSig (W3C) give to things. */

const OPC = 'http://schemas.openxmlformats.org/package/2006';

export const DSIG = 'http://www.w3.org/2000/09/xmldsig#';
export const OPC_SIGNATURE = `${OPC}/digital-signature`;

/** Types of relationships. */
export const ORIGIN = `${OPC}/relationships/digital-signature/origin`;
export const SIGNATURE = `${OPC}/relationships/digital-signature/signature`;

/** Content types of the parts that signing adds. */
export const ORIGIN_TYPE = 'application/vnd.openxmlformats-package.digital-signature-origin';
export const SIGNATURE_TYPE = 'application/vnd.openxmlformats-package.digital-signature-xmlsignature+xml';

/** Canonical XML 1.0 without comments: the only transformation that signatures of packages may name here. */
export const C14N = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315';

/** The object of a signature that holds the list of parts, and the signature to which it belongs. */
export const OBJECT_ID = 'idPackageObject';
export const SIGNATURE_ID = 'SignatureIdValue';
