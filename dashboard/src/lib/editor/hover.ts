// Explains the name under the mouse pointer.

import { hoverTooltip } from '@codemirror/view';
import { explain } from './explain';
import { namesIn } from './names';
import {
	context,
	type Form,
	functionsOf,
	methodsOf,
	modules,
	plainFunctions,
	type ReferenceFunction
} from './reference';
import { receiver } from './completion';
import { tokens } from './rhai';

/** A name and its explanations. */
export interface Meaning {
	from: number;
	to: number;
	forms: Form[];
}

/** Returns the meaning of the name at a position of a source, if it is known. */
export function meaningAt(source: string, position: number): Meaning | undefined {
	const code = tokens(source).filter((token) => token.style !== null);
	const place = code.findIndex(
		({ from, text }) => from <= position && position < from + text.length
	);
	const token = code[place];
	if (!token || !/^[A-Za-z_]\w*$/.test(token.text) || /string|omment/.test(token.style!)) {
		return undefined;
	}
	const { text, from } = token;
	const before = code[place - 1]?.text;
	const found = (forms: Form[] | undefined) =>
		forms?.length ? { from, to: from + text.length, forms } : undefined;
	if (before === '::') return found(formsOf(functionsOf(code[place - 2]?.text ?? ''), text));
	if (before === '.' || before === '?.') {
		const path = pathBefore(code, place);
		const member = context.find((each) => each.path === `${path}.${text}`);
		if (member) return found([note(member.path, member.doc)]);
		const kind = receiver(source.slice(0, code[place - 1]!.from), namesIn(source));
		return found(formsOf(methodsOf(kind), text));
	}
	if (token.style === 'namespace') {
		const module = modules.find((each) => each.name === text);
		return found(module && [note(`${module.name}::`, module.doc)]);
	}
	if (text === 'ctx') return found([note('ctx', 'The request or the event that started the run.')]);
	const own = namesIn(source).functions.get(text);
	if (own) return found([note(`${text}(${own.parameters.join(', ')})`, own.doc)]);
	return found(formsOf(plainFunctions, text));
}

/** Returns the path before a dot: `ctx.request`. */
function pathBefore(code: readonly { text: string }[], place: number): string {
	const names: string[] = [];
	for (let at = place - 1; at > 0 && /^\??\.$/.test(code[at]!.text); at -= 2) {
		names.unshift(code[at - 1]!.text);
	}
	return names.join('.');
}

function formsOf(functions: readonly ReferenceFunction[], name: string): Form[] {
	return functions
		.filter((each) => each.name === name)
		.flatMap(({ of, forms }) =>
			forms.map((form) => (of ? { ...form, signature: `${of}.${form.signature}` } : form))
		);
}

function note(signature: string, doc: string): Form {
	return { signature, parameters: [], doc };
}

/** Shows the meaning in a tooltip. */
export const hover = hoverTooltip((view, position) => {
	const meaning = meaningAt(view.state.doc.toString(), position);
	if (!meaning) return null;
	return {
		pos: meaning.from,
		end: meaning.to,
		above: true,
		create: () => ({ dom: explain(meaning.forms) })
	};
});
