import { z } from 'zod';
import { OBJECT_ID } from '../../lib/git/objects.ts';

/** The id of a commit in a file's schema: 40 hex digits. */
export const commitId = z.string().regex(OBJECT_ID);
