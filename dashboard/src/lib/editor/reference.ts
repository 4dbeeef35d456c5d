// The functions that a script can use. docs/functions.json is generated from the doc comments of
// the functions.

import reference from '../../../../docs/functions.json';

export interface Form {
	/** `kv::collection(name: text) -> Collection`. */
	signature: string;
	parameters: string[];
	doc: string;
}

export interface ReferenceFunction {
	module?: string;
	/** The kind of value that has this method. */
	of?: string;
	name: string;
	forms: Form[];
}

/** The modules: `kv`, `queue` … */
export const modules: readonly { name: string; doc: string }[] = reference.modules;
/** The members of `ctx`. */
export const context: readonly { path: string; doc: string }[] = reference.context;

const all: readonly ReferenceFunction[] = [...reference.functions, ...reference.standard];

/** Returns the functions of a module. */
export function functionsOf(module: string): ReferenceFunction[] {
	return all.filter((each) => each.module === module && !each.of);
}

/** Functions without a module. */
export const plainFunctions: readonly ReferenceFunction[] = all.filter(
	(each) => !each.module && !each.of
);

/** Returns the methods of a kind of value; all methods if the kind is unknown. */
export function methodsOf(kind: string | undefined): ReferenceFunction[] {
	return all.filter((each) => each.of && (kind === undefined || each.of === kind));
}

/** Kinds of values by the function that returns them: `kv::collection` returns a `Collection`. */
export const kindByFunction: ReadonlyMap<string, string> = new Map(
	reference.functions.flatMap((each) => {
		const kind = each.forms[0]?.signature.split(' -> ')[1];
		return 'of' in each || !kind ? [] : [[`${each.module}::${each.name}`, kind]];
	})
);

/** Returns the members of a path: of `ctx` or `ctx.request`. */
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
