// The names that a script declares, and the kinds of their values.

import { kindByFunction } from './reference';
import { type Token, tokens } from './rhai';

/** A function of the script. */
export interface OwnFunction {
	name: string;
	parameters: string[];
	/** The text of the doc comments before it. */
	doc: string;
}

/** The names of a script. */
export interface Names {
	/** Variables and parameters, with the kind of their value if it is known. */
	variables: Map<string, string | undefined>;
	functions: Map<string, OwnFunction>;
}

/** Collects the names. A name that is declared twice keeps its last known kind. */
export function namesIn(source: string): Names {
	const names: Names = { variables: new Map(), functions: new Map() };
	const found = tokens(source).filter((token) => token.style !== null);
	const code = found.filter((token) => !/comment/i.test(token.style!));
	code.forEach((token, place) => {
		if (token.text === 'let' || token.text === 'const') declare(code, place, names);
		else if (token.text === 'for' || token.text === 'catch') bind(code, place, names);
		else if (token.text === '|' && isClosure(code[place - 1])) closure(code, place, names);
		else if (token.style?.endsWith('definition')) define(found, code, place, names);
	});
	return names;
}

/** Returns the kind of the value that tokens begin with: `kv::collection(…)`, `"…"`, `#{…}`. */
export function kindOf(code: readonly Token[]): string | undefined {
	const [first, second, third] = code;
	if (!first) return undefined;
	if (second?.text === '::') return kindByFunction.get(`${first.text}::${third?.text}`);
	if (first.style === 'string') return 'text';
	if (first.text === '[') return 'array';
	if (first.text === '#{') return 'object';
	return undefined;
}

function declare(code: Token[], place: number, names: Names): void {
	const name = code[place + 1];
	if (!name?.style?.startsWith('variableName')) return;
	const value = code[place + 2]?.text === '=' ? code.slice(place + 3, place + 6) : [];
	// Only a call that ends the expression: a method after it would change the kind.
	const kind = isWhole(code, place + 3) ? kindOf(value) : undefined;
	names.variables.set(name.text, kind ?? names.variables.get(name.text));
}

/** Whether the expression at `start` is a single call or literal, up to `;`. */
function isWhole(code: Token[], start: number): boolean {
	let depth = 0;
	for (let place = start; place < code.length; place++) {
		const { text, style } = code[place]!;
		if (text === ';') return depth === 0;
		if (style === 'bracket') depth += /^[)\]}]/.test(text) ? -1 : 1;
		else if (depth === 0 && (text === '.' || style === 'operator')) return false;
	}
	return true;
}

/** `for item in`, `for (item, counter) in` and `catch (error)`. */
function bind(code: Token[], place: number, names: Names): void {
	for (const token of code.slice(place + 1, place + 6)) {
		if (token.style === 'variableName') addVariable(names, token.text);
		else if (token.text !== '(' && token.text !== ',') return;
	}
}

/** Whether a bar after this token begins a closure. */
function isClosure(before: Token | undefined): boolean {
	return !before || /^[(,=[{;:]$|^=>$|^#\{$/.test(before.text) || before.text === 'return';
}

function closure(code: Token[], place: number, names: Names): void {
	for (const token of code.slice(place + 1)) {
		if (token.style === 'variableName') addVariable(names, token.text);
		else if (token.text !== ',') return;
	}
}

function define(found: Token[], code: Token[], place: number, names: Names): void {
	const name = code[place]!.text;
	const parameters: string[] = [];
	for (const token of code.slice(place + 2)) {
		if (token.style?.startsWith('variableName')) parameters.push(token.text);
		else if (token.text !== ',') break;
	}
	for (const parameter of parameters) addVariable(names, parameter);
	const start = found.findIndex((token) => token.from === code[place - 1]?.from);
	const doc: string[] = [];
	for (let line = start - 1; found[line]?.style === 'docComment'; line--) {
		doc.unshift(found[line]!.text.replace(/^\/\/[/!]\s?/, ''));
	}
	names.functions.set(name, { name, parameters, doc: doc.join(' ') });
}

function addVariable(names: Names, name: string): void {
	if (!names.variables.has(name)) names.variables.set(name, undefined);
}
