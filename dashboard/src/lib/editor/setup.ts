// The editor. It is large, so it is loaded when a page first shows one. Import only types from this
// file, or use `import()`.

import {
	acceptCompletion,
	autocompletion,
	closeBrackets,
	closeBracketsKeymap,
	completionKeymap
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, foldGutter, foldKeymap, indentOnInput } from '@codemirror/language';
import { forceLinting, linter, lintGutter, lintKeymap } from '@codemirror/lint';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { EditorState, StateEffect, StateField } from '@codemirror/state';
import {
	Decoration,
	type DecorationSet,
	drawSelection,
	EditorView,
	highlightActiveLine,
	highlightActiveLineGutter,
	keymap,
	lineNumbers
} from '@codemirror/view';
import { complete } from './completion';
import { hover } from './hover';
import { rhaiLanguage } from './language';
import { type Place, rangeAt } from './position';
import { looks } from './theme';

/** The pause in typing before the source is checked, in ms. */
const CHECK_AFTER_MS = 400;

/** An error in a source. */
export interface Problem extends Place {
	message: string;
}

interface Options {
	source: string;
	/** The accessible name. */
	label: string;
	/** Whether the source cannot be changed. */
	readonly: boolean;
	onchange: (source: string) => void;
	onsave: () => void;
	/** Called for Control or Command and Enter. */
	onrun: () => void;
	/** Parses a source. Resolves to the error, if there is one. */
	check: (source: string) => Promise<Problem | undefined>;
}

const setFailed = StateEffect.define<number | undefined>();

/** Marks the line where a run failed, until the source is edited. */
const failedLine = StateField.define<DecorationSet>({
	create: () => Decoration.none,
	update(marks, transaction) {
		for (const effect of transaction.effects) {
			if (!effect.is(setFailed)) continue;
			if (effect.value === undefined) return Decoration.none;
			const mark = Decoration.line({ class: 'cm-failed' });
			return Decoration.set([mark.range(effect.value)]);
		}
		return transaction.docChanged ? Decoration.none : marks;
	},
	provide: (field) => EditorView.decorations.from(field)
});

/** An editor for a source. */
export class Editor {
	#view: EditorView;

	constructor(parent: HTMLElement, options: Options) {
		this.#view = new EditorView({
			parent,
			doc: options.source,
			extensions: [
				lineNumbers(),
				foldGutter(),
				highlightActiveLine(),
				highlightActiveLineGutter(),
				history(),
				drawSelection(),
				indentOnInput(),
				bracketMatching(),
				closeBrackets(),
				autocompletion({ override: [complete] }),
				highlightSelectionMatches(),
				EditorState.tabSize.of(4),
				EditorState.readOnly.of(options.readonly),
				rhaiLanguage,
				hover,
				failedLine,
				lintGutter(),
				linter((view) => problems(view, options.check), { delay: CHECK_AFTER_MS }),
				keymap.of([
					{ key: 'Mod-s', preventDefault: true, run: () => (options.onsave(), true) },
					// The default binding would insert a line.
					{ key: 'Mod-Enter', preventDefault: true, run: () => (options.onrun(), true) },
					...closeBracketsKeymap,
					...defaultKeymap,
					...searchKeymap,
					...historyKeymap,
					...foldKeymap,
					...completionKeymap,
					...lintKeymap,
					{ key: 'Tab', run: acceptCompletion },
					indentWithTab
				]),
				EditorView.contentAttributes.of({
					// The element takes the focus anyway, but not every checker knows that.
					tabindex: '0',
					'aria-label': options.label,
					'aria-description':
						'Rhai source. Tab indents. To leave the editor, press Escape and then Tab. ' +
						'Control and S, or Command and S, saves. Control and Enter, or Command and Enter, ' +
						'saves and runs.'
				}),
				EditorView.updateListener.of((update) => {
					if (update.docChanged) options.onchange(update.state.doc.toString());
				}),
				looks
			]
		});
	}

	get source(): string {
		return this.#view.state.doc.toString();
	}

	/** Replaces the source. The user can undo it. */
	replace(source: string): void {
		const { length } = this.#view.state.doc;
		this.#view.dispatch({ changes: { from: 0, to: length, insert: source } });
	}

	/** Moves the cursor to a position, and scrolls to it. */
	goTo(place: Place): void {
		const { from } = rangeAt(this.#view.state.doc, place);
		const scrolled = EditorView.scrollIntoView(from, { y: 'center' });
		this.#view.dispatch({ selection: { anchor: from }, effects: scrolled });
		this.#view.focus();
		this.#view.dom.scrollIntoView({ block: 'nearest' });
	}

	/** Marks the line where a run failed; `undefined` removes the mark. */
	markFailed(line: number | undefined): void {
		const { doc } = this.#view.state;
		const known = line !== undefined && line >= 1 && line <= doc.lines;
		this.#view.dispatch({ effects: setFailed.of(known ? doc.line(line).from : undefined) });
	}

	/** Checks the source now. */
	check(): void {
		forceLinting(this.#view);
	}

	destroy(): void {
		this.#view.destroy();
	}
}

async function problems(view: EditorView, check: Options['check']) {
	const { doc } = view.state;
	const problem = await check(doc.toString());
	if (!problem) return [];
	return [{ ...rangeAt(doc, problem), severity: 'error' as const, message: problem.message }];
}
