// The text before every stream, part of version 2 (docs/protocol.md §3a); that of services/eloquent/protocol/history.py, byte for byte.

export const STATIC_DICTIONARY = new TextEncoder().encode(
  [
    '{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_","output_index":0,"content_index":0,"delta":"',
    'event: response.output_text.delta\ndata: {"id":"cmpl-","object":"text_completion","created":17,"model":"","choices":',
    '[{"index":0,"text":"","logprobs":null,"finish_reason":null}]}\n\n',
    '"tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":""}}],"reasoning_content":"',
    " which would there their about could other these first should people through because something between against",
    " system number example following information important different function value return import class string print",
    " one two can you not but all are with they have from this that was were been will when what your more also such",
    " into than then them some only out over its it's there is a in of to and the for as on at by an be or if it he she we",
    ' The This It In A I You For To If When However, **\n\n1. \n- ```python\n"usage":{"prompt_tokens":,"completion_tokens":',
    '"finish_reason":"stop"}],"usage":null}data: [DONE]\n\n',
    'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"gpt-4o-2024-08-06","service_tier":',
    '"default","system_fingerprint":"fp_","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},',
    '"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"',
  ].join(""),
);
