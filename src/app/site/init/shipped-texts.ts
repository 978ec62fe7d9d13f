/** The URLs of the control repository and the exchange in the example configurations. */
export const EXAMPLE_URLS = {
  control: 'ssh://git@build.example.org/srv/control.git',
  exchange: (user: string): string => `sftp://${user}@build.example.org/exchange`,
};

/** The comment in a new known_hosts. */
export const KNOWN_HOSTS_TEXT = `# The keys that the hosts of control.url and exchange.url must show, one a line, as ssh-keyscan prints them:
#
#   ssh-keyscan -t ed25519 build.example.org >> known_hosts
#
# The network proves nothing: compare \`ssh-keygen -lf known_hosts\` with what
# \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints on the host itself.
`;

/** The comment in a new list of receipt keys. */
export const RECEIPT_SIGNERS_TEXT = `# Whose receipts are accepted, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
#
#   signer@example.org namespaces="git" ssh-ed25519 AAAA...
#
# \`signpipe init signer\` prints the signer's line. Take it only from its operator, and compare the key's
# fingerprint over another channel than the one over which the line came.
`;
