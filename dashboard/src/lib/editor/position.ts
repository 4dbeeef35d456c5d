import type { Text } from '@codemirror/state';

/** A place in a source as the interpreter tells it. */
export interface Place {
	/** From 1; 0 when it is not known. */
	line: number;
	/** From 1, in characters; 0 when it is not known. */
	column: number;
}

/** What is at a place: the word there, or one character. Places beyond the end are the end. */
export function rangeAt(doc: Text, { line, column }: Place): { from: number; to: number } {
	const found = doc.line(Math.min(Math.max(1, line), doc.lines));
	// The interpreter counts characters, the editor counts UTF-16 units.
	const before = [...found.text].slice(0, Math.max(0, column - 1)).join('').length;
	const from = found.from + Math.min(before, found.text.length);
	const word = /^\w+/.exec(found.text.slice(from - found.from));
	if (word) return { from, to: from + word[0].length };
	if (from < found.to) return { from, to: from + 1 };
	// At the end of a line there is nothing to be underlined but what is before it.
	return { from: Math.max(found.from, from - 1), to: found.to };
}
