import {
	foldService,
	indentUnit,
	LanguageSupport,
	matchBrackets,
	StreamLanguage
} from '@codemirror/language';
import { tags } from '@lezer/highlight';
import { rhai } from './rhai';

/** Folds the bracket that a line ends with. */
const folding = foldService.of((state, lineStart) => {
	const line = state.doc.lineAt(lineStart);
	const end = line.from + line.text.trimEnd().length;
	if (!/[([{]$/.test(line.text.trimEnd())) return null;
	const match = matchBrackets(state, end - 1, 1)?.end;
	return match && match.from > line.to ? { from: end, to: match.from } : null;
});

/** The Rhai support of all editors. */
export const rhaiLanguage = new LanguageSupport(
	StreamLanguage.define({ ...rhai, tokenTable: { interpolation: tags.special(tags.brace) } }),
	[folding, indentUnit.of('    ')]
);
