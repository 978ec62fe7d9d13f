#!/usr/bin/env node
/** What `signpipe` runs: loads the part of the program that reads the command line. */
import { openProgram, Scripts } from './program.ts';

openProgram(new Scripts(import.meta.dirname))('main.js');
