// What a script can use, from the one place where it is said: docs/functions.json is made
// from the doc comments of the functions themselves.

import reference from '../../../../docs/functions.json';

export interface Form {
	/** `kv::collection(name: text) -> Collection`. */
	signature: string;
	parameters: string[];
	doc: string;
}

export interface ReferenceFunction {
	module?: string;
	/** The kind of value whose method it is. */
	of?: string;
	name: string;
	forms: Form[];
}

/** The services. */
export const modules: readonly { name: string; doc: string }[] = reference.modules;
/** What is in `ctx`. */
export const context: readonly { path: string; doc: string }[] = reference.context;

const all: readonly ReferenceFunction[] = [...reference.functions, ...reference.standard];

/** The functions of a service. */
export function functionsOf(module: string): ReferenceFunction[] {
	return all.filter((each) => each.module === module && !each.of);
}

/** Functions that are called without a service's name before them. */
export const plainFunctions: readonly ReferenceFunction[] = all.filter(
	(each) => !each.module && !each.of
);

/** The methods of a kind of value; of all when it is not known. */
export function methodsOf(kind: string | undefined): ReferenceFunction[] {
	return all.filter((each) => each.of && (kind === undefined || each.of === kind));
}

/** Kinds of values by the function that gives them: `kv::collection` gives a `Collection`. */
export const kindByFunction: ReadonlyMap<string, string> = new Map(
	reference.functions.flatMap((each) => {
		const kind = each.forms[0]?.signature.split(' -> ')[1];
		return 'of' in each || !kind ? [] : [[`${each.module}::${each.name}`, kind]];
	})
);

/** The members of `ctx`, or of something in it. */
export function membersOf(path: string): { name: string; doc: string }[] {
	const members = new Map<string, string>();
	for (const member of context) {
		if (!member.path.startsWith(`${path}.`)) continue;
		const [name = '', ...deeper] = member.path.slice(path.length + 1).split('.');
		if (deeper.length === 0) members.set(name, member.doc);
		else if (!members.has(name)) members.set(name, '');
	}
	return [...members].map(([name, doc]) => ({ name, doc }));
}
