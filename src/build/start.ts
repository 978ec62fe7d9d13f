#!/usr/bin/env node
/** What `signpipe` runs: the part of the program that takes the command line. */
import { openProgram, Scripts } from './program.ts';

openProgram(new Scripts(import.meta.dirname))('main.js');
