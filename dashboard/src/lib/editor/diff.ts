// Shows the differences of two sources. Loaded when it is first needed, like the editor.

import { MergeView, unifiedMergeView } from '@codemirror/merge';
import { EditorState, type Extension } from '@codemirror/state';
import { EditorView, lineNumbers } from '@codemirror/view';
import { rhaiLanguage } from './language';
import { looks } from './theme';

/** A source and its label. */
export interface Side {
	label: string;
	source: string;
}

/** Minimum width for two columns, in pixels. */
const SIDE_BY_SIDE_FROM = 700;
const UNCHANGED = { margin: 3, minSize: 6 };

/** Shows the changes from `before` to `after`. Returns a function that removes the view. */
export function showDiff(parent: HTMLElement, before: Side, after: Side): () => void {
	if (parent.clientWidth < SIDE_BY_SIDE_FROM) {
		const merged = unifiedMergeView({
			original: before.source,
			mergeControls: false,
			collapseUnchanged: UNCHANGED
		});
		const label = `${after.label}, with the changes from ${before.label}`;
		const extensions = [...readOnly(label), merged];
		const view = new EditorView({ parent, doc: after.source, extensions });
		return () => view.destroy();
	}
	const view = new MergeView({
		parent,
		a: { doc: before.source, extensions: readOnly(before.label) },
		b: { doc: after.source, extensions: readOnly(after.label) },
		collapseUnchanged: UNCHANGED
	});
	return () => view.destroy();
}

/** Cannot be changed, but takes the focus, so that the keyboard can scroll it. */
function readOnly(label: string): Extension[] {
	return [
		lineNumbers(),
		EditorState.readOnly.of(true),
		EditorView.contentAttributes.of({ tabindex: '0', 'aria-label': label }),
		EditorView.lineWrapping,
		rhaiLanguage,
		looks
	];
}
