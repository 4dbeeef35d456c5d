// The editor's completion.

import {
	type Completion,
	type CompletionContext,
	type CompletionResult,
	snippetCompletion
} from '@codemirror/autocomplete';
import { kindOf, type Names, namesIn } from './names';
import {
	functionsOf,
	membersOf,
	methodsOf,
	modules,
	plainFunctions,
	type ReferenceFunction
} from './reference';
import { BUILT_IN, endsInWords, KEYWORDS, tokens } from './rhai';
import { explain } from './explain';

/** Completions, and the number of characters before the cursor that they replace. */
export interface Offer {
	replaces: number;
	options: Completion[];
}

/** The source of the editor's completion. */
export function complete(context: CompletionContext): CompletionResult | null {
	const source = context.state.doc.toString();
	const offer = offerAt(source, context.pos, context.explicit);
	if (!offer) return null;
	return {
		from: context.pos - offer.replaces,
		options: offer.options,
		validFor: /^\w*$/
	};
}

/** Returns the completions at a position of a source; none in texts and comments. */
export function offerAt(source: string, position: number, explicit = false): Offer | undefined {
	if (endsInWords(source.slice(0, position))) return undefined;
	const before = source.slice(source.lastIndexOf('\n', position - 1) + 1, position);
	const word = /\w*$/.exec(before)![0];
	const ahead = before.slice(0, before.length - word.length);
	const options = optionsAfter(ahead, word, source, position, explicit);
	return options?.length ? { replaces: word.length, options } : undefined;
}

function optionsAfter(
	ahead: string,
	word: string,
	source: string,
	position: number,
	explicit: boolean
): Completion[] | undefined {
	const module = /([a-z_]\w*)::$/.exec(ahead);
	if (module) return functionsOf(module[1]!).map((each) => called(each, 'function'));
	const member = /\bctx((?:\??\.\w+)*)\??\.$/.exec(ahead);
	if (member) {
		const path = `ctx${member[1]!.replaceAll('?', '')}`;
		const members = membersOf(path);
		if (members.length > 0) return members.map(property);
	}
	// A call can begin on its own line: `users\n    .get("ada")`.
	if (/(^|[^.\d])\??\.$/.test(ahead) || /[\w)\]}"`]\.$/.test(ahead)) {
		if (/\b\d+\.$/.test(ahead)) return undefined;
		return methods(source.slice(0, position - word.length), source);
	}
	if (/\b(fn|let|const|for)\s+$/.test(ahead)) return undefined;
	if (/^\d/.test(word) || (word === '' && !explicit)) return undefined;
	return names(namesIn(source), word);
}

/** Returns the methods of the value that the text ends with. The last character is a dot. */
function methods(text: string, source: string): Completion[] {
	const kind = receiver(text.replace(/\??\.$/, ''), namesIn(source));
	const byName = new Map<string, ReferenceFunction>();
	for (const method of methodsOf(kind)) {
		const other = byName.get(method.name);
		const forms = other ? [...other.forms, ...method.forms] : method.forms;
		// The explanation of a method that several kinds have names the kinds.
		byName.set(method.name, { ...method, of: other ? undefined : method.of, forms });
	}
	return [...byName.values()].map((each) => called(each, 'method'));
}

/** Returns the kind of the value that a text ends with. */
export function receiver(text: string, names: Names): string | undefined {
	const code = tokens(text).filter((token) => token.style && !/comment/i.test(token.style));
	const last = code.at(-1);
	if (!last) return undefined;
	if (last.style === 'string') return 'text';
	if (last.style === 'variableName' && code.at(-2)?.text !== '.') {
		return names.variables.get(last.text);
	}
	if (last.style !== 'bracket') return undefined;
	const start = opened(code);
	if (code[start]?.text !== '(') return start < 0 ? undefined : kindOf(code.slice(start));
	return code[start - 2]?.text === '::' ? kindOf(code.slice(start - 3)) : undefined;
}

/** Returns the index of the token that opens the last bracket. */
function opened(code: readonly { text: string; style: string | null }[]): number {
	let depth = 0;
	for (let place = code.length - 1; place >= 0; place--) {
		const { text, style } = code[place]!;
		if (style !== 'bracket') continue;
		depth += /^[)\]}]/.test(text) ? 1 : -1;
		if (depth === 0) {
			// `list[0]` is an element, whose kind is unknown.
			const isIndex = text === '[' && /[\w)\]]$/.test(code[place - 1]?.text ?? '');
			return isIndex ? -1 : place;
		}
	}
	return -1;
}

function names(own: Names, word: string): Completion[] {
	const variables = [...own.variables].filter(([name]) => name !== word);
	return [
		...variables.map(([label, kind]) => ({ label, detail: kind, type: 'variable', boost: 2 })),
		...[...own.functions.values()].map((each) =>
			snippetCompletion(`${each.name}(${holes(each.parameters)})`, {
				label: each.name,
				detail: `(${each.parameters.join(', ')})`,
				info: each.doc || undefined,
				type: 'function',
				boost: 2
			})
		),
		{
			label: 'ctx',
			type: 'variable',
			info: 'The request or the event that started the run.',
			boost: 1
		},
		...modules.map(({ name, doc }) => ({
			label: name,
			apply: `${name}::`,
			detail: '::',
			info: doc || undefined,
			type: 'namespace',
			boost: 1
		})),
		...plainFunctions.map((each) => called(each, 'function')),
		...BUILT_IN.filter((name) => !plainFunctions.some((each) => each.name === name)).map(
			(label) => ({ label, type: 'function', boost: -1 })
		),
		...KEYWORDS.map((label) => ({ label, type: 'keyword' }))
	];
}

function property({ name, doc }: { name: string; doc: string }): Completion {
	return { label: name, type: 'property', info: doc || undefined };
}

function called(each: ReferenceFunction, type: string): Completion {
	const first = each.forms[0]!;
	return snippetCompletion(`${each.name}(${holes(first.parameters)})`, {
		label: each.name,
		detail: each.of ?? `(${first.parameters.join(', ')})`,
		type,
		info: () => explain(each.forms)
	});
}

/** Returns placeholders for the arguments. */
function holes(parameters: readonly string[]): string {
	return parameters.map((name) => `\${${name}}`).join(', ');
}
