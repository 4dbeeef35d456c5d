// Rhai for the editor: tokens, indentation and the language data.

import { type StreamParser, StringStream } from '@codemirror/language';

const CONTROL =
	'if else switch while loop for in do until break continue return throw try catch'.split(' ');
const DECLARING = 'let const fn private import export as global this'.split(' ');
const CALLED = 'Fn call curry type_of is_def_var is_def_fn is_shared print debug'.split(' ');

/** The keywords of the language. */
export const KEYWORDS: readonly string[] = [...CONTROL, ...DECLARING, 'true', 'false'];
/** Functions of the language that the reference does not have. */
export const BUILT_IN: readonly string[] = CALLED;

/** An open text in backticks, or an open `${…}` in one with the number of its open braces. */
type Context = { kind: 'template' } | { kind: 'interpolation'; braces: number };

/** The state of the tokenizer at the start of a line. */
export interface RhaiState {
	/** The depth of nested block comments. */
	comment: number;
	/** An open text in double quotes. Only a backslash continues it on the next line. */
	text: 'open' | 'continued' | undefined;
	/** The hashes that end the open raw text, if there is one. */
	raw: string | undefined;
	/** Open texts in backticks and interpolations, innermost last. */
	contexts: Context[];
	/** The indentations of the lines that opened the open brackets. */
	brackets: number[];
	/** The previous token, if it was `.` or `fn`. */
	before: 'dot' | 'fn' | undefined;
}

export const rhai: StreamParser<RhaiState> = {
	name: 'rhai',
	startState: () => ({
		comment: 0,
		text: undefined,
		raw: undefined,
		contexts: [],
		brackets: [],
		before: undefined
	}),
	copyState: (state) => ({
		...state,
		contexts: state.contexts.map((context) => ({ ...context })),
		brackets: [...state.brackets]
	}),
	token(stream, state) {
		if (state.comment > 0) return blockComment(stream, state);
		if (stream.sol() && state.text === 'open') state.text = undefined;
		if (state.text) return text(stream, state);
		if (state.raw !== undefined) return rawText(stream, state);
		if (state.contexts.at(-1)?.kind === 'template') return template(stream, state);
		if (stream.eatSpace()) return null;
		return code(stream, state);
	},
	indent(state, textAfter, context) {
		if (state.comment > 0 || state.text || state.raw !== undefined) return null;
		if (state.contexts.at(-1)?.kind === 'template') return null;
		const opened = state.brackets.at(-1);
		if (opened === undefined) return 0;
		return /^\s*[\])}]/.test(textAfter) ? opened : opened + context.unit;
	},
	languageData: {
		commentTokens: { line: '//', block: { open: '/*', close: '*/' } },
		closeBrackets: { brackets: ['(', '[', '{', '"', '`'] },
		indentOnInput: /^\s*[\])}]$/
	}
};

function code(stream: StringStream, state: RhaiState): string | null {
	const before = state.before;
	state.before = undefined;
	if (stream.match(/^\/\/(\/|!)/)) {
		stream.skipToEnd();
		return 'docComment';
	}
	if (stream.match('//')) {
		stream.skipToEnd();
		return 'comment';
	}
	if (stream.match('/*')) {
		state.comment = 1;
		return blockComment(stream, state);
	}
	if (stream.match(/^(0x[\da-fA-F_]+|0o[0-7_]+|0b[01_]+)/)) return 'number';
	// `1..5` is a range and `1.max(2)` a call: a dot is part of a number only before a digit.
	if (stream.match(/^\d[\d_]*(\.\d[\d_]*)?([eE][+-]?\d+)?/)) return 'number';
	if (stream.match(/^'(\\.[^']*|[^'\\])'/)) return 'character';
	const raw = stream.match(/^(#+)"/) as RegExpMatchArray | null;
	if (raw) {
		state.raw = raw[1];
		return rawText(stream, state);
	}
	if (stream.eat('"')) {
		return text(stream, state);
	}
	if (stream.eat('`')) {
		state.contexts.push({ kind: 'template' });
		return template(stream, state);
	}
	const word = stream.match(/^[A-Za-z_]\w*/) as RegExpMatchArray | null;
	if (word) return named(word[0], before, stream, state);
	if (stream.match(/^#\{|^[([{]/)) return opening(stream, state);
	if (stream.match(/^[)\]}]/)) return closing(stream.current(), state);
	if (stream.match('::')) return 'punctuation';
	if (stream.match(/^(\.\.=?|\?\?=?|=>|\*\*=?|<<=?|>>=?|&&|\|\||[-+*/%=!<>&|^]=?)/)) {
		return 'operator';
	}
	if (stream.match(/^\??\./)) {
		state.before = 'dot';
		return 'punctuation';
	}
	stream.next();
	return 'punctuation';
}

function named(
	word: string,
	before: RhaiState['before'],
	stream: StringStream,
	state: RhaiState
): string {
	const called = stream.match(/^\s*!?\(/, false);
	if (before === 'dot') return called ? 'propertyName.function' : 'propertyName';
	if (stream.match('::', false)) return 'namespace';
	if (word === 'fn') state.before = 'fn';
	if (word === 'true' || word === 'false') return 'bool';
	if (CONTROL.includes(word)) return 'controlKeyword';
	if (DECLARING.includes(word)) return 'keyword';
	if (before === 'fn') return 'variableName.function.definition';
	return called ? 'variableName.function' : 'variableName';
}

function opening(stream: StringStream, state: RhaiState): string {
	state.brackets.push(stream.indentation());
	const context = state.contexts.at(-1);
	if (context?.kind === 'interpolation' && stream.current().endsWith('{')) context.braces++;
	return 'bracket';
}

function closing(bracket: string, state: RhaiState): string {
	const context = state.contexts.at(-1);
	if (bracket === '}' && context?.kind === 'interpolation') {
		if (context.braces === 0) {
			state.contexts.pop();
			return 'interpolation';
		}
		context.braces--;
	}
	state.brackets.pop();
	return 'bracket';
}

function blockComment(stream: StringStream, state: RhaiState): string {
	while (!stream.eol()) {
		if (stream.match('*/')) {
			if (--state.comment === 0) break;
		} else if (stream.match('/*')) state.comment++;
		else stream.next();
	}
	return 'comment';
}

/** Reads to the closing quote. A line that ends with a backslash continues on the next one. */
function text(stream: StringStream, state: RhaiState): string {
	state.text = 'open';
	while (!stream.eol()) {
		const letter = stream.next();
		if (letter === '"') {
			state.text = undefined;
			break;
		}
		if (letter === '\\' && !stream.next()) state.text = 'continued';
	}
	return 'string';
}

function rawText(stream: StringStream, state: RhaiState): string {
	const end = `"${state.raw}`;
	while (!stream.eol()) {
		if (stream.match(end)) {
			state.raw = undefined;
			break;
		}
		stream.next();
	}
	return 'string';
}

function template(stream: StringStream, state: RhaiState): string {
	if (stream.match('${')) {
		state.contexts.push({ kind: 'interpolation', braces: 0 });
		return 'interpolation';
	}
	while (!stream.eol() && !stream.match('${', false)) {
		const letter = stream.next();
		if (letter === '`') {
			state.contexts.pop();
			break;
		}
		if (letter === '\\') stream.next();
	}
	return 'string';
}

/** A token of a source. */
export interface Token {
	text: string;
	/** The style; `null` for spaces. */
	style: string | null;
	/** The offset in the source. */
	from: number;
}

/** Returns all tokens of a source, without line breaks. */
export function tokens(source: string): Token[] {
	return scan(source).found;
}

/** Whether a source ends inside a text or a comment. */
export function endsInWords(source: string): boolean {
	const { found, state } = scan(source);
	if (state.comment > 0 || state.text || state.raw !== undefined) return true;
	if (state.contexts.at(-1)?.kind === 'template') return true;
	const last = found.at(-1);
	return last !== undefined && last.text.startsWith('//') && !source.endsWith('\n');
}

function scan(source: string): { found: Token[]; state: RhaiState } {
	const found: Token[] = [];
	const state = rhai.startState!(4);
	let begin = 0;
	for (const line of source.split('\n')) {
		const stream = new StringStream(line, 4, 4);
		while (!stream.eol()) {
			stream.start = stream.pos;
			const style = rhai.token(stream, state);
			if (stream.pos > stream.start) {
				found.push({ text: stream.current(), style, from: begin + stream.start });
			}
		}
		begin += line.length + 1;
	}
	return { found, state };
}
