import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

export default ts.config(
	{ ignores: ['build/', '.svelte-kit/', 'src/lib/api/schema.ts', 'test-results/'] },
	js.configs.recommended,
	...ts.configs.recommended,
	...svelte.configs.recommended,
	{ languageOptions: { globals: { ...globals.browser, ...globals.node } } },
	{
		files: ['**/*.svelte', '**/*.svelte.ts'],
		languageOptions: {
			parserOptions: { extraFileExtensions: ['.svelte'], parser: ts.parser, svelteConfig }
		}
	},
	{
		// docs/openapi.json alone describes the data of the API. Its names have underscores, and
		// the dashboard's own have none. A type with underscores is a copy, which would still
		// compile when the API changes.
		files: ['src/**'],
		rules: {
			'no-restricted-syntax': [
				'error',
				{
					selector: ':matches(TSPropertySignature, TSParameterProperty)[key.name=/_/]',
					message: 'This is a shape of the API: take it from Schema.'
				},
				{
					selector: 'TSAsExpression :matches(TSTypeLiteral)',
					message: 'A cast to a shape that is written by hand: take it from Schema.'
				}
			]
		}
	},
	{
		// Only the typed client sends requests. It also waits for the session and the server.
		files: ['src/**'],
		ignores: ['src/lib/api/**', 'src/lib/session/**'],
		rules: {
			'no-restricted-globals': ['error', { name: 'fetch', message: 'Use api or sendRaw.' }]
		}
	},
	{
		rules: {
			// The dashboard is always at the root of its host.
			'svelte/no-navigation-without-resolve': 'off'
		}
	}
);
