/*
 * Owns the habits of servers of which we have no recording: SGLang, TGI, transformers serve and
 * OpenAI's own. Data, written from their sources (SGLang 0.5, TGI 3, transformers 5) and their
 * documentation (OpenAI); what a source does not settle is left as the others have it.
 */
#include "wire.h"

#include "api_admin.h"
#include "engine_stats.h"
#include "metrics_pages.h"

static const struct http_habit uvicorn = {
	.server = "uvicorn",
	.fields =
		(const struct head_field[]){
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_SERVER, "server", HEAD_ALWAYS, NULL},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_CONNECTION, "connection", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "transfer-encoding", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

#define PLAIN_USAGE                                                                                \
	"'usage':{'prompt_tokens':$prompt_tokens,'completion_tokens':$completion_tokens,"          \
	"'total_tokens':$total_tokens"

/* ---- SGLang ---- */

#define SGLANG_CHAT(choices)                                                                       \
	"data: {'id':'$id','object':'chat.completion.chunk','created':$created,'model':'$model',"  \
	"'choices':[" choices "]"

#define SGLANG_TEXT(choices)                                                                       \
	"data: {'id':'$id','object':'text_completion','created':$created,"                         \
	"'model':'$model','choices':[" choices "]"

#define SGLANG_EACH "$?c{," PLAIN_USAGE ",'prompt_tokens_details':null}$}$!c{,'usage':null$}}\n\n"

#define SGLANG_META(finish)                                                                        \
	"'meta_info':{'id':'$id','finish_reason':" finish ",'prompt_tokens':$prompt_tokens,"       \
	"'weight_version':'default','total_retractions':0,'completion_tokens':"                    \
	"$completion_tokens,'cached_tokens':$cached,'e2e_latency':$latency_s}"

static const struct api_dialect sglang_chat = {
	.id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	.role = SGLANG_CHAT("{'index':$index,'delta':{'role':'assistant','content':'',"
			    "'reasoning_content':null,'tool_calls':null},'logprobs':null,"
			    "'finish_reason':null,'matched_stop':null}") ",'usage':null}\n\n",
	.token = SGLANG_CHAT("{'index':$index,'delta':{'role':null,'content':'$text',"
			     "'reasoning_content':null,'tool_calls':null},'logprobs':null,"
			     "'finish_reason':null,'matched_stop':null}") SGLANG_EACH,
	.end = SGLANG_CHAT("{'index':$index,'delta':{'role':null,'content':null,"
			   "'reasoning_content':null,'tool_calls':null},'logprobs':null,"
			   "'finish_reason':$finish,'matched_stop':$stop}") ",'usage':null}\n\n",
	.usage = SGLANG_CHAT("") "," PLAIN_USAGE ",'prompt_tokens_details':null}}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'chat.completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'index':$index,'message':{'role':'assistant','content':'$text',"
		       "'reasoning_content':null,'tool_calls':null},'logprobs':null,"
		       "'finish_reason':$finish,'matched_stop':$stop}",
	.body_end = "]," PLAIN_USAGE ",'prompt_tokens_details':null},"
		    "'metadata':{'weight_version':'default'}}",
	.words = {"stop", "stop", "length"},
};

static const struct api_dialect sglang_completions = {
	.id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	.token = SGLANG_TEXT("{'index':$index,'text':'$text','logprobs':null,"
			     "'finish_reason':null,'matched_stop':null}") SGLANG_EACH,
	.last = SGLANG_TEXT("{'index':$index,'text':'$text','logprobs':null,"
			    "'finish_reason':$finish,'matched_stop':$stop}") SGLANG_EACH,
	.usage = SGLANG_TEXT("") "," PLAIN_USAGE ",'prompt_tokens_details':null}}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'text_completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'index':$index,'text':'$text','logprobs':null,'finish_reason':$finish,"
		       "'matched_stop':$stop}",
	.body_end = "]," PLAIN_USAGE ",'prompt_tokens_details':null},"
		    "'metadata':{'weight_version':'default'}}",
	.words = {"stop", "stop", "length"},
	.shows_nothing = true,
};

/* Each event has all the text so far. */
static const struct api_dialect sglang_generate = {
	.id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	.token = "data: {'text':'$whole','output_ids':$tokens," SGLANG_META("null") "}\n\n",
	.last = "data: {'text':'$whole','output_ids':$tokens," SGLANG_META(
		"$finish_object") "}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "$?m{[$}",
	.body_choice = "{'text':'$text','output_ids':$tokens," SGLANG_META("$finish_object") "}",
	.body_end = "$?m{]$}",
	.words = {"stop", "stop", "length"},
	.shows_nothing = true,
	.keeps_whole = true,
	.keeps_tokens = true,
};

static const struct refusal_words sglang_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {400, API_BAD_FORM, NULL},
	[REFUSE_FORM] = {400, API_BAD_FORM, NULL},
	[REFUSE_KEY] = {401, NULL, "{'error':'Unauthorized'}"},
	[REFUSE_BUSY] = {503, "ServiceUnavailableError", NULL},
};

static const struct route sglang_routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &sglang_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &sglang_completions},
	{"/generate", "POST", api_generate, API_SGLANG, &sglang_generate},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL},
	{"/health_generate", "GET", admin_health, 0, NULL},
	{"/metrics", "GET", admin_metrics, 0, NULL},
	{0},
};

#define SGLANG_ERROR                                                                               \
	"{'object':'error','message':'$message','type':'$type','param':$param,'code':$status}"

const struct wire_habit wire_sglang = {
	.name = "sglang",
	.help = "SGLang's server",
	.basis = "its sources (0.5); no recording",
	.http = &uvicorn,
	.json_type = "application/json",
	.stream_type = "text/event-stream; charset=utf-8",
	.text_type = "text/plain; charset=utf-8",
	.reading = READ_ANY_MODEL,
	.refusals = sglang_refusals,
	.error = SGLANG_ERROR,
	.error_event = "data: {'error':" SGLANG_ERROR "}\n\n",
	.health = "",
	.models = "{'object':'list','data':[",
	.models_item = "{'id':'$model','object':'model','created':$created,'owned_by':'sglang',"
		       "'root':'$model','parent':null,'max_model_len':$context}",
	.models_end = "]}",
	.routes = sglang_routes,
	.metrics = metrics_sglang,
	.metrics_type = "text/plain; version=0.0.4; charset=utf-8",
};

/* ---- TGI: no blank behind "data:" in its own API ---- */

#define TGI_CHAT(choices)                                                                          \
	"data: {'object':'chat.completion.chunk','id':'','created':$created,'model':'$model',"     \
	"'system_fingerprint':'$fingerprint','choices':[" choices "]"

static const struct api_dialect tgi_chat = {
	.id = "chatcmpl-xxxxxxxxxxxxxxxx", /* its own id is always empty */
	.token = TGI_CHAT("{'index':$index,'delta':{'role':'assistant','content':'$text'},"
			  "'logprobs':null,'finish_reason':null}") ",'usage':null}\n\n",
	.last = TGI_CHAT("{'index':$index,'delta':{'role':'assistant','content':'$text'},"
			 "'logprobs':null,'finish_reason':$finish}") ",'usage':null}\n\n",
	.usage = TGI_CHAT("") "," PLAIN_USAGE "}}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'object':'chat.completion','id':'','created':$created,'model':'$model',"
		"'system_fingerprint':'$fingerprint','choices':[",
	.body_choice = "{'index':$index,'message':{'role':'assistant','content':'$text'},"
		       "'logprobs':null,'finish_reason':$finish}",
	.body_end = "]," PLAIN_USAGE "}}",
	.words = {"stop", "stop", "length"},
	.shows_nothing = true,
};

#define TGI_TEXT(choices)                                                                          \
	"data: {'object':'text_completion','id':'','created':$created,'model':'$model',"           \
	"'system_fingerprint':'$fingerprint','choices':[" choices "]"

static const struct api_dialect tgi_completions = {
	.id = "cmpl-xxxxxxxxxxxxxxxx",
	.token = TGI_TEXT("{'index':$index,'text':'$text','logprobs':null,'finish_reason':'"
			  "'}") "}\n\n",
	.last = TGI_TEXT("{'index':$index,'text':'$text','logprobs':null,'finish_reason':$"
			 "finish}") "," PLAIN_USAGE "}}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'object':'text_completion','id':'','created':$created,'model':'$model',"
		"'system_fingerprint':'$fingerprint','choices':[",
	.body_choice = "{'index':$index,'text':'$text','logprobs':null,'finish_reason':$finish}",
	.body_end = "]," PLAIN_USAGE "}}",
	.words = {"stop", "stop", "length"},
	.shows_nothing = true,
};

/* Its tokens have log probabilities; there are none here, and null is what it sends for none. */
#define TGI_TOKEN                                                                                  \
	"data:{'index':$completion_tokens,'token':{'id':$token,'text':'$text','logprob':null,"     \
	"'special':false},"

#define TGI_DETAILS "'finish_reason':$finish,'generated_tokens':$completion_tokens,'seed':$seed"

#define TGI_BODY                                                                                   \
	"{'generated_text':'$text'$?d{,'details':{" TGI_DETAILS ",'prefill':[],'tokens':[]}$}}"

#define TGI_FORMS                                                                                  \
	.id = "tgi-xxxxxxxxxxxxxxxx",                                                              \
	.token = TGI_TOKEN "'generated_text':null,'details':null}\n\n",                            \
	.last = TGI_TOKEN "'generated_text':'$whole','details':{" TGI_DETAILS                      \
			  ",'input_length':$prompt_tokens}}\n\n",                                  \
	.body = "", .body_choice = TGI_BODY, .body_end = "",                                       \
	.words = {"eos_token", "stop_sequence", "length"}, .shows_nothing = true,                  \
	.keeps_whole = true

static const struct api_dialect tgi_generate = {TGI_FORMS};

static const struct refusal_words tgi_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {422, "validation", NULL},
	[REFUSE_FORM] = {422, "validation", NULL},
	[REFUSE_VALUE] = {422, "validation", NULL},
	[REFUSE_LENGTH] = {422, "validation", NULL},
	[REFUSE_KEY] = {401, "unauthorized", NULL},
	[REFUSE_MODEL] = {404, "validation", NULL},
	[REFUSE_ROUTE] = {404, NULL, ""},
	[REFUSE_METHOD] = {405, NULL, ""},
	[REFUSE_BUSY] = {429, "overloaded", NULL},
	[REFUSE_UNREADY] = {503, "unhealthy", NULL},
	[REFUSE_ENGINE] = {424, "generation", NULL},
};

static const struct route tgi_routes[] = {
	{"/generate", "POST", api_generate, API_TGI, &tgi_generate},
	{"/generate_stream", "POST", api_generate, API_TGI_STREAM, &tgi_generate},
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &tgi_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &tgi_completions},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL},
	{"/ping", "GET", admin_health, 0, NULL},
	{"/metrics", "GET", admin_metrics, 0, NULL},
	{0},
};

static const struct http_habit hyper = {
	.fields =
		(const struct head_field[]){
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "cache-control", HEAD_IN_STREAM, "no-cache"},
			{HEAD_TEXT, "x-accel-buffering", HEAD_IN_STREAM, "no"},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "access-control-allow-origin", HEAD_ALWAYS, "*"},
			{HEAD_TEXT, "vary", HEAD_ALWAYS,
			 "origin, access-control-request-method, access-control-request-headers"},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_CONNECTION, "connection", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "transfer-encoding", HEAD_ALWAYS, NULL},
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

const struct wire_habit wire_tgi = {
	.name = "tgi",
	.help = "Hugging Face's text-generation-inference",
	.basis = "its sources (3); no recording",
	.http = &hyper,
	.json_type = "application/json",
	.stream_type = "text/event-stream",
	.text_type = "text/plain; charset=utf-8",
	.reading = READ_ANY_MODEL | READ_ONE_USAGE,
	.refusals = tgi_refusals,
	.error = "{'error':'$message','error_type':'$type'}",
	.error_event = "data:{'error':'$message','error_type':'$type'}\n\n",
	.health = "",
	.models = "{'object':'list','data':[",
	.models_item = "{'id':'$model','object':'model','created':0,'owned_by':'$model'}",
	.models_end = "]}",
	.routes = tgi_routes,
	.metrics = metrics_tgi,
	.metrics_type = "text/plain; charset=utf-8",
};

/* ---- transformers serve: what is null is left out; usage comes unasked; no [DONE] ---- */

#define HF_CHAT(delta, finish)                                                                     \
	"data: {'id':'$id','choices':[{'delta':" delta finish ",'index':$index}],"                 \
	"'created':$now,'model':'$model@main','object':'chat.completion.chunk',"                   \
	"'system_fingerprint':''"

#define HF_TEXT(finish, text)                                                                      \
	"data: {'id':'$id','choices':[{" finish "'index':$index,'text':'" text "'}],"              \
	"'created':$now,'model':'$model@main','object':'text_completion'"

#define HF_USAGE                                                                                   \
	"'usage':{'completion_tokens':$completion_tokens,'prompt_tokens':$prompt_tokens,"          \
	"'total_tokens':$total_tokens}"

static const struct api_dialect hf_chat = {
	.id = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
	.role = HF_CHAT("{'role':'assistant'}", "") "}\n\n",
	.token = HF_CHAT("{'content':'$text'}", "") "}\n\n",
	.end = HF_CHAT("{}", ",'finish_reason':$finish") "," HF_USAGE "}\n\n",
	.body = "{'id':'$id','choices':[",
	.body_choice = "{'finish_reason':$finish,'index':$index,'message':{'content':'$text',"
		       "'role':'assistant'}}",
	.body_end =
		"],'created':$now,'model':'$model@main','object':'chat.completion'," HF_USAGE "}",
	.words = {"stop", "stop", "length"},
};

static const struct api_dialect hf_completions = {
	.id = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
	.token = HF_TEXT("", "$text") "}\n\n",
	.end = HF_TEXT("'finish_reason':$finish,", "") "," HF_USAGE "}\n\n",
	.body = "{'id':'$id','choices':[",
	.body_choice = "{'finish_reason':$finish,'index':$index,'text':'$text'}",
	.body_end =
		"],'created':$now,'model':'$model@main','object':'text_completion'," HF_USAGE "}",
	.words = {"stop", "stop", "length"},
};

static const struct refusal_words hf_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {422, NULL, NULL},   [REFUSE_FORM] = {422, NULL, NULL},
	[REFUSE_VALUE] = {400, NULL, NULL},  [REFUSE_FIELD] = {422, NULL, NULL},
	[REFUSE_LENGTH] = {400, NULL, NULL}, [REFUSE_BUSY] = {429, NULL, NULL},
	[REFUSE_ENGINE] = {500, NULL, NULL},
};

static const struct route hf_routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &hf_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &hf_completions},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL},
	{0},
};

const struct wire_habit wire_transformers = {
	.name = "transformers",
	.help = "`transformers serve`",
	.basis = "its sources (5); no recording",
	.http = &uvicorn,
	.json_type = "application/json",
	.stream_type = "text/event-stream; charset=utf-8",
	.text_type = "text/plain; charset=utf-8",
	.reading = READ_ANY_MODEL | READ_KNOWN_FIELDS | READ_NO_USAGE | READ_NO_ECHO | READ_NO_IDS,
	.refusals = hf_refusals,
	.error = "{'detail':'$message'}",
	.error_event = "data: {'error': '$message'}\n\n",
	.health = "{'status':'ok'}",
	.models = "{'object':'list','data':[",
	.models_item = "{'id':'$model','object':'model','created':$created,'owned_by':'$engine'}",
	.models_end = "]}",
	.routes = hf_routes,
};

/* ---- OpenAI ---- */

#define OPENAI_CHAT(choices)                                                                       \
	"data: {'id':'$id','object':'chat.completion.chunk','created':$created,'model':'$model',"  \
	"'service_tier':'default','system_fingerprint':'$fingerprint','choices':[" choices "]"

/* Where usage was asked for, the events before it bear a null. */
#define OPENAI_EACH "$?u{,'usage':null$}}\n\n"

#define OPENAI_USAGE                                                                               \
	PLAIN_USAGE ",'prompt_tokens_details':{'cached_tokens':$cached,'audio_tokens':0},"         \
		    "'completion_tokens_details':{'reasoning_tokens':0,'audio_tokens':0,"          \
		    "'accepted_prediction_tokens':0,'rejected_prediction_tokens':0}}"

static const struct api_dialect openai_chat = {
	.id = "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	.role = OPENAI_CHAT("{'index':$index,'delta':{'role':'assistant','content':'',"
			    "'refusal':null},'logprobs':null,'finish_reason':null}") OPENAI_EACH,
	.token = OPENAI_CHAT("{'index':$index,'delta':{'content':'$text'},'logprobs':null,"
			     "'finish_reason':null}") OPENAI_EACH,
	.end = OPENAI_CHAT("{'index':$index,'delta':{},'logprobs':null,"
			   "'finish_reason':$finish}") OPENAI_EACH,
	.usage = OPENAI_CHAT("") "," OPENAI_USAGE "}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'chat.completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'index':$index,'message':{'role':'assistant','content':'$text',"
		       "'refusal':null,'annotations':[]},'logprobs':null,"
		       "'finish_reason':$finish}",
	.body_end = "]," OPENAI_USAGE ",'service_tier':'default',"
		    "'system_fingerprint':'$fingerprint'}",
	.words = {"stop", "stop", "length"},
	.roles_together = true,
};

#define OPENAI_TEXT(choices)                                                                       \
	"data: {'id':'$id','object':'text_completion','created':$created,'choices':[" choices      \
	"],'model':'$model'"

static const struct api_dialect openai_completions = {
	.id = "cmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	.token = OPENAI_TEXT("{'text':'$text','index':$index,'logprobs':null,"
			     "'finish_reason':null}") OPENAI_EACH,
	.end = OPENAI_TEXT("{'text':'','index':$index,'logprobs':null,"
			   "'finish_reason':$finish}") OPENAI_EACH,
	.usage = OPENAI_TEXT("") "," PLAIN_USAGE "}}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'text_completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'text':'$text','index':$index,'logprobs':null,'finish_reason':$finish}",
	.body_end = "]," PLAIN_USAGE "}}",
	.words = {"stop", "stop", "length"},
};

static const struct http_habit openai_head = {
	.server = "cloudflare",
	.fields =
		(const struct head_field[]){
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "transfer-encoding", HEAD_ALWAYS, NULL},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "connection", HEAD_ALWAYS | HEAD_IF_KEPT, "keep-alive"},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "access-control-expose-headers", HEAD_ALWAYS, "X-Request-ID"},
			{HEAD_TEXT, "openai-processing-ms", HEAD_ALWAYS | HEAD_IF_OK, "1"},
			{HEAD_TEXT, "openai-version", HEAD_ALWAYS | HEAD_IF_OK, "2020-10-01"},
			{HEAD_RANDOM, "x-request-id", HEAD_ALWAYS, NULL},
			{HEAD_SERVER, "server", HEAD_ALWAYS, NULL},
			{HEAD_CONNECTION, "connection", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

static const struct refusal_words openai_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {400, "invalid_request_error", NULL},
	[REFUSE_FORM] = {400, "invalid_request_error", NULL},
	[REFUSE_VALUE] = {400, "invalid_request_error", NULL},
	[REFUSE_LENGTH] = {400, NULL,
			   "{'error':{'message':'$message','type':'invalid_request_error',"
			   "'param':'messages','code':'context_length_exceeded'}}"},
	[REFUSE_KEY] = {401, NULL,
			"{'error':{'message':'$message','type':'invalid_request_error',"
			"'param':null,'code':'invalid_api_key'}}"},
	[REFUSE_MODEL] = {404, NULL,
			  "{'error':{'message':'$message','type':'invalid_request_error',"
			  "'param':null,'code':'model_not_found'}}"},
	[REFUSE_ROUTE] = {404, "invalid_request_error", NULL},
	[REFUSE_METHOD] = {405, "invalid_request_error", NULL},
	[REFUSE_BUSY] = {429, NULL,
			 "{'error':{'message':'$message','type':'requests','param':null,"
			 "'code':'rate_limit_exceeded'}}"},
	[REFUSE_UNREADY] = {503, "server_error", NULL},
	[REFUSE_ENGINE] = {500, "server_error", NULL},
};

static const struct route openai_routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &openai_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &openai_completions},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL}, /* not theirs: one has to see that it is up */
	{0},
};

const struct wire_habit wire_openai = {
	.name = "openai",
	.help = "OpenAI's own service",
	.basis = "its documentation; no recording",
	.http = &openai_head,
	.json_type = "application/json",
	.stream_type = "text/event-stream; charset=utf-8",
	.text_type = "text/plain; charset=utf-8",
	.reading = READ_ONE_USAGE,
	.refusals = openai_refusals,
	.error = "{'error':{'message':'$message','type':'$type','param':$param,'code':null}}",
	.error_event = "data: {'error':{'message':'$message','type':'$type','param':$param,"
		       "'code':null}}\n\n",
	.health = "",
	.models = "{'object':'list','data':[",
	.models_item = "{'id':'$model','object':'model','created':$created,'owned_by':'system'}",
	.models_end = "]}",
	.routes = openai_routes,
};
