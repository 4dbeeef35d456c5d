// Two sources and where they differ. Fetched when it is first needed, like the editor.

import { MergeView, unifiedMergeView } from '@codemirror/merge';
import { EditorState, type Extension } from '@codemirror/state';
import { EditorView, lineNumbers } from '@codemirror/view';
import { rhaiLanguage } from './language';
import { looks } from './theme';

/** A source and what it is called. */
export interface Side {
	label: string;
	source: string;
}

/** Below this width, in pixels, one above the other reads better than side by side. */
const SIDE_BY_SIDE_FROM = 700;
const UNCHANGED = { margin: 3, minSize: 6 };

/** Shows what has to be changed about `before` to get `after`; gives what takes it away. */
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

/** It takes the focus still: what scrolls must be reachable with the keyboard. */
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
