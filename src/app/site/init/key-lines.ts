/** `TYPE BASE64` of a public key line, without its comment. */
const withoutComment = (publicLine: string): string => publicLine.split(' ').slice(0, 2).join(' ');

/** A line of an allowed signers file (ssh-keygen(1)): this key may sign commits, as `principal`. */
export const allowedSignerLine = (principal: string, publicLine: string): string =>
  `${principal} namespaces="git" ${withoutComment(publicLine)}`;

/** A line of the Git account's authorized_keys: this key is `user` in `role`, and can use only git. */
export const gitKeyLine = (user: string, role: string, publicLine: string): string =>
  `restrict,command="SIGNPIPE_USER=${user} SIGNPIPE_ROLE=${role} exec git-shell -c \\"$SSH_ORIGINAL_COMMAND\\"" ${publicLine}`;

/** A line of the exchange account's authorized_keys; sshd_config limits what the account can do. */
export const exchangeKeyLine = (publicLine: string): string => `restrict ${publicLine}`;
