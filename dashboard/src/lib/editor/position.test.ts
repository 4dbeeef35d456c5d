import { Text } from '@codemirror/state';
import { expect, it } from 'vitest';
import { rangeAt } from './position';

const doc = Text.of(['let a = 1;', '"𝄞" + word;', '']);
const at = (line: number, column: number) => {
	const { from, to } = rangeAt(doc, { line, column });
	return doc.sliceString(from, to);
};

it('finds the word or the character at a position', () => {
	expect([at(1, 5), at(1, 7), at(1, 1)]).toEqual(['a', '=', 'let']);
});

it('counts characters, also those of two UTF-16 units', () => {
	expect(at(2, 7)).toBe('word');
});

it('takes the end of a line or of the source for a position beyond it', () => {
	expect([at(1, 11), at(1, 99), at(3, 1), at(99, 1), at(0, 0)]).toEqual([';', ';', '', '', 'let']);
});
