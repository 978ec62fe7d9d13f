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
