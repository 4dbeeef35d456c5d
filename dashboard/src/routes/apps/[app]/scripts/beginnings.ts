/** The templates for a new script. */
export const BEGINNINGS: readonly { label: string; source: string }[] = [
	{
		label: 'An endpoint that returns JSON',
		source: `let name = ctx.request.query.name;
if name == () { name = "world"; }

#{ message: \`Hello, \${name}!\` }
`
	},
	{
		label: 'A counter in the key-value store',
		source: `let counts = kv::collection("counts");
let visits = counts.increment("visits");
log::info("a visit", #{ visits: visits });

#{ visits: visits }
`
	},
	{
		label: 'An event handler',
		source: `// Runs for every event of its triggers: see the tab "Triggers".
let event = ctx.event;
log::info(\`a \${event.kind} event\`, event);
`
	},
	{ label: 'An empty script', source: '// The value of the last expression is the response.\n()\n' }
];
