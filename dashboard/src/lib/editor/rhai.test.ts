import { expect, it } from 'vitest';
import { endsInWords, rhai, tokens } from './rhai';

/** Returns the tokens of a source with their styles, without spaces and punctuation. */
function pieces(source: string): string[] {
	return tokens(source)
		.filter(({ style }) => style !== null && style !== 'punctuation' && style !== 'bracket')
		.map(({ text, style }) => `${style}: ${text}`);
}

it('tells keywords, names, numbers and operators apart', () => {
	expect(pieces('let total = 0xFF + 1_000.5e-3 ** n; if total >= 2 { return true }')).toEqual([
		'keyword: let',
		'variableName: total',
		'operator: =',
		'number: 0xFF',
		'operator: +',
		'number: 1_000.5e-3',
		'operator: **',
		'variableName: n',
		'controlKeyword: if',
		'variableName: total',
		'operator: >=',
		'number: 2',
		'controlKeyword: return',
		'bool: true'
	]);
});

it('tells ranges and calls on numbers from fractions', () => {
	expect(pieces('1..=5; 2.max(3)')).toEqual([
		'number: 1',
		'operator: ..=',
		'number: 5',
		'number: 2',
		'propertyName.function: max',
		'number: 3'
	]);
});

it('knows services, functions, methods and members', () => {
	expect(pieces('fn double(x) { kv::collection("a").get(ctx.request.path) }')).toEqual([
		'keyword: fn',
		'variableName.function.definition: double',
		'variableName: x',
		'namespace: kv',
		'variableName.function: collection',
		'string: "a"',
		'propertyName.function: get',
		'variableName: ctx',
		'propertyName: request',
		'propertyName: path'
	]);
});

it('finds code in texts at any depth', () => {
	expect(pieces('`a ${ `b ${#{x: {1}}} c` } d`; z')).toEqual([
		'string: `a ',
		'interpolation: ${',
		'string: `b ',
		'interpolation: ${',
		'variableName: x',
		'number: 1',
		'interpolation: }',
		'string:  c`',
		'interpolation: }',
		'string:  d`',
		'variableName: z'
	]);
	expect(pieces('`one\ntwo ${n}\nthree` + 1').at(-1)).toBe('number: 1');
});

it('ends texts where Rhai ends them', () => {
	expect(pieces(String.raw`"a\"b" + 'x' + '\n' + #"raw "quoted""# + 1`)).toEqual([
		String.raw`string: "a\"b"`,
		'operator: +',
		"character: 'x'",
		'operator: +',
		String.raw`character: '\n'`,
		'operator: +',
		'string: #"raw "quoted""#',
		'operator: +',
		'number: 1'
	]);
	expect(pieces('"goes on \\\nhere" + 1')).toEqual([
		'string: "goes on \\',
		'string: here"',
		'operator: +',
		'number: 1'
	]);
});

it('nests block comments and knows doc comments', () => {
	expect(pieces('/* a /* b */ still */ 1 // end\n/// doc\n/* open\n 2')).toEqual([
		'comment: /* a /* b */ still */',
		'number: 1',
		'comment: // end',
		'docComment: /// doc',
		'comment: /* open',
		'comment:  2'
	]);
});

it('knows whether a source ends in a text or a comment', () => {
	const within = ['"a', '`a', '`a ${1} b', '// a', '/* a', '/* a\n', '#"a" ', '"\\"'];
	const outside = ['"a"', '`a`', '`a ${', '`a ${b', '// a\n', '/* a */', '#"a"#', 'a', ''];
	expect(within.filter((source) => !endsInWords(source))).toEqual([]);
	expect(outside.filter((source) => endsInWords(source))).toEqual([]);
});

it('indents code in brackets, and aligns the closing bracket', () => {
	const indent = (brackets: number[], text: string) =>
		rhai.indent!({ ...rhai.startState!(4), brackets }, text, { unit: 4 });
	expect(indent([], 'a')).toBe(0);
	expect(indent([0], 'a')).toBe(4);
	expect(indent([0], '}')).toBe(0);
	expect(indent([0, 4], 'a')).toBe(8);
	expect(indent([0, 0], '})')).toBe(0);
});
