import type { Text } from '@codemirror/state';

/** A position in a source, as the interpreter reports it. */
export interface Place {
	/** From 1; 0 if it is unknown. */
	line: number;
	/** From 1, in characters; 0 if it is unknown. */
	column: number;
}

/** Returns the range of the word or character at a position. Beyond the end it is the last one. */
export function rangeAt(doc: Text, { line, column }: Place): { from: number; to: number } {
	const found = doc.line(Math.min(Math.max(1, line), doc.lines));
	// The interpreter counts characters, the editor counts UTF-16 units.
	const before = [...found.text].slice(0, Math.max(0, column - 1)).join('').length;
	const from = found.from + Math.min(before, found.text.length);
	const word = /^\w+/.exec(found.text.slice(from - found.from));
	if (word) return { from, to: from + word[0].length };
	if (from < found.to) return { from, to: from + 1 };
	// The end of a line has no character to underline, so the one before it is taken.
	return { from: Math.max(found.from, from - 1), to: found.to };
}
