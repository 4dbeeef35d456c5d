// The look of sources. It uses the page's colours, so that the editor follows the theme.

import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const colours = HighlightStyle.define([
	{ tag: [tags.keyword, tags.controlKeyword, tags.bool], color: 'var(--blue)', fontWeight: '600' },
	{ tag: [tags.string, tags.character], color: 'var(--green)' },
	{ tag: tags.number, color: 'var(--amber)' },
	{ tag: tags.comment, color: 'var(--soft)', fontStyle: 'italic' },
	{ tag: tags.docComment, color: 'var(--soft)' },
	{ tag: tags.namespace, color: 'var(--accent)' },
	{ tag: tags.function(tags.variableName), color: 'var(--accent)', fontWeight: '600' },
	{ tag: tags.function(tags.propertyName), color: 'var(--accent)' },
	{ tag: tags.special(tags.brace), color: 'var(--red)' },
	{ tag: [tags.operator, tags.punctuation, tags.bracket], color: 'var(--soft)' }
]);

const surfaces = EditorView.theme({
	'&': {
		height: '100%',
		border: '1px solid var(--line-strong)',
		borderRadius: 'var(--radius)',
		backgroundColor: 'var(--surface)',
		color: 'var(--ink)',
		fontSize: '0.875rem',
		overflow: 'hidden'
	},
	'&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
	'.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5' },
	'.cm-content': { caretColor: 'var(--ink)' },
	'.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--ink)' },
	'.cm-gutters': {
		borderRight: '1px solid var(--line)',
		backgroundColor: 'var(--surface)',
		color: 'var(--soft)'
	},
	'.cm-activeLine, .cm-activeLineGutter': {
		backgroundColor: 'color-mix(in srgb, var(--sunken) 60%, transparent)'
	},
	'.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground':
		{ backgroundColor: 'color-mix(in srgb, var(--accent) 25%, transparent)' },
	'&.cm-focused .cm-matchingBracket': {
		backgroundColor: 'var(--accent-soft)',
		outline: '1px solid var(--accent)'
	},
	'.cm-selectionMatch, .cm-searchMatch': { backgroundColor: 'var(--amber-soft)' },
	'.cm-searchMatch-selected': { outline: '2px solid var(--amber)' },
	'.cm-foldPlaceholder': {
		border: '1px solid var(--line-strong)',
		backgroundColor: 'var(--sunken)',
		color: 'var(--ink)'
	},
	'.cm-failed': { backgroundColor: 'var(--red-soft)' },
	'.cm-tooltip': {
		border: '1px solid var(--line-strong)',
		borderRadius: 'var(--radius)',
		backgroundColor: 'var(--surface)',
		color: 'var(--ink)',
		boxShadow: 'var(--shadow)'
	},
	'.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', fontSize: '0.8125rem' },
	'.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': {
		backgroundColor: 'var(--accent)',
		color: 'var(--accent-ink)'
	},
	'.cm-completionDetail': { color: 'var(--soft)' },
	'li[aria-selected] .cm-completionDetail': { color: 'inherit' },
	'.cm-completionIcon': { width: '1.4em', opacity: '1' },
	'.cm-completionMatchedText': { fontWeight: '700' },
	'.cm-tooltip.cm-completionInfo, .cm-tooltip-hover': { maxWidth: 'min(32rem, 90vw)' },
	'.cm-explained': { maxHeight: '18rem', padding: '0.5rem 0.75rem', overflowY: 'auto' },
	'.cm-explained code': { color: 'var(--accent)', overflowWrap: 'anywhere' },
	'.cm-explained p': {
		margin: '0 0 0.5rem',
		fontFamily: 'var(--sans)',
		fontSize: '0.875rem',
		whiteSpace: 'normal'
	},
	'.cm-diagnostic': { whiteSpace: 'pre-wrap', fontFamily: 'var(--sans)' },
	'.cm-diagnostic-error': { borderLeftColor: 'var(--red)' },
	'.cm-panels': { backgroundColor: 'var(--sunken)', color: 'var(--ink)' },
	'.cm-panels.cm-panels-bottom': { borderTop: '1px solid var(--line)' },
	'.cm-textfield': {
		minHeight: '0',
		border: '1px solid var(--line-strong)',
		backgroundColor: 'var(--surface)'
	},
	'.cm-button': {
		border: '1px solid var(--line-strong)',
		backgroundImage: 'none',
		backgroundColor: 'var(--surface)',
		color: 'var(--ink)'
	},
	'.cm-changedLine, .cm-insertedLine': { backgroundColor: 'var(--green-soft)' },
	'&.cm-merge-a .cm-changedLine, .cm-deletedChunk': { backgroundColor: 'var(--red-soft)' },
	'.cm-changedText, &.cm-merge-a .cm-changedText, &.cm-merge-b .cm-changedText': {
		background: 'none',
		boxShadow: 'inset 0 -2px currentcolor'
	},
	'.cm-collapsedLines': {
		background: 'var(--sunken)',
		color: 'var(--soft)'
	},
	// Few fonts have its ornaments.
	'.cm-collapsedLines::before, .cm-collapsedLines::after': { content: 'none !important' }
});

/** The look of all editors. */
export const looks = [surfaces, syntaxHighlighting(colours)];
