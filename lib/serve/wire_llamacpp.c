/*
 * Owns the habits of llama.cpp's server and of llama-cpp-python's. Data. Written from the recorded
 * bytes of llama-server 0c1e570 and llama-cpp-python 0.3.36; tests/integration/test_api_recorded.c
 * compares.
 */
#include "wire.h"

#include "api_admin.h"
#include "api_slots.h"
#include "metrics_pages.h"

/* ---- llama-server: chat. `created` is read anew for every event. ---- */

#define CHAT(choices)                                                                              \
	"data: {'choices':[" choices "],'created':$now,'id':'$id','model':'$model',"               \
	"'system_fingerprint':'$fingerprint','object':'chat.completion.chunk'"

#define USAGE                                                                                      \
	"'usage':{'completion_tokens':$completion_tokens,'prompt_tokens':$prompt_tokens,"          \
	"'total_tokens':$total_tokens,'prompt_tokens_details':{'cached_tokens':$cached}}"

/* The text that a stop string held back comes with the timings, as the end does. */
#define STOP_TIMINGS "$?t{,'timings':$timings$}"

static const struct api_dialect server_chat = {
	.id = "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	.opening = "data: null\n\n",
	.role = CHAT("{'finish_reason':null,'index':$index,'delta':{'role':'assistant',"
		     "'content':null}}") "}\n\n",
	.token = CHAT("{'finish_reason':null,'index':$index,'delta':{'content':'$text'}}")
		STOP_TIMINGS "}\n\n",
	/* The usage of each choice shares the chunk of its end, and takes the timings along. */
	.end = CHAT(
		"{'finish_reason':$finish,'index':$index,'delta':{}}") "$!u{,'timings':$timings$}}"
								       "\n\n"
								       "$?u{" CHAT(
									       "") "," USAGE
										   ",'timings':$"
										   "timings}\n\n$}",
	.done = "data: [DONE]\n\n",
	.body = "{'choices':[",
	.body_choice = "{'finish_reason':$finish,'index':$index,'message':{'role':'assistant',"
		       "'content':'$text'}}",
	.body_end = "],'created':$now,'model':'$model','system_fingerprint':'$fingerprint',"
		    "'object':'chat.completion'," USAGE ",'id':'$id','timings':$timings}",
	.words = {"stop", "stop", "length"},
	.role_joins = true,
};

/* ---- completions: the ids begin as those of chats do, and usage comes unasked ---- */

static const struct api_dialect server_completions = {
	.id = "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	.opening = "data: null\n\n",
	.token = "data: {'choices':[{'text':'$text','index':$index,'logprobs':null,"
		 "'finish_reason':null}],'created':$now,'model':'$model',"
		 "'system_fingerprint':'$fingerprint','object':'text_completion','id':'$"
		 "id'" STOP_TIMINGS "}\n\n",
	.end = "data: {'choices':[{'text':'','index':$index,'logprobs':null,"
	       "'finish_reason':$finish}],'created':$now,'model':'$model',"
	       "'system_fingerprint':'$fingerprint','object':'text_completion'," USAGE
	       ",'id':'$id','timings':$timings}\n\n",
	.done = "data: [DONE]\n\n",
	.body = "{'choices':[",
	.body_choice = "{'text':'$text','index':$index,'logprobs':null,'finish_reason':$finish}",
	.body_end = "],'created':$now,'model':'$model','system_fingerprint':'$fingerprint',"
		    "'object':'text_completion'," USAGE ",'id':'$id','timings':$timings}",
	.words = {"stop", "stop", "length"},
	.shows_stop = true,
};

/* ---- /completion: no [DONE]; the settings are the server's defaults but for what was asked ----
 */

#define SETTINGS                                                                                   \
	"{'seed':$seed,'temperature':$temperature,'dynatemp_range':0.0,'dynatemp_exponent':1.0,"   \
	"'top_k':40,'top_p':0.949999988079071,'min_p':0.05000000074505806,'top_n_sigma':-1.0,"     \
	"'xtc_probability':0.0,'xtc_threshold':0.10000000149011612,'typical_p':1.0,"               \
	"'repeat_last_n':64,'repeat_penalty':1.0,'presence_penalty':0.0,'frequency_penalty':0.0,"  \
	"'dry_multiplier':0.0,'dry_base':1.75,'dry_allowed_length':2,'dry_penalty_last_n':64,"     \
	"'dry_sequence_breakers':['\\n',':','\\'','*'],'mirostat':0,'mirostat_tau':5.0,"           \
	"'mirostat_eta':0.10000000149011612,'adaptive_target':-1.0,"                               \
	"'adaptive_decay':0.8999999761581421,'stop':$stops,'max_tokens':$max_tokens,"              \
	"'n_predict':$max_tokens,'n_keep':0,'n_discard':0,'ignore_eos':false,"                     \
	"'stream':$?s{true$}$!s{false$},'logit_bias':[],'n_probs':0,'min_keep':0,'grammar':'',"    \
	"'grammar_lazy':false,'grammar_triggers':[],'preserved_tokens':[],"                        \
	"'chat_format':'Content-only','reasoning_format':'deepseek',"                              \
	"'reasoning_in_content':false,'generation_prompt':'','samplers':['penalties','dry',"       \
	"'top_n_sigma','top_k','typ_p','top_p','min_p','xtc','temperature'],"                      \
	"'speculative.types':'none','timings_per_token':false,'post_sampling_probs':false,"        \
	"'backend_sampling':false,'lora':[]}"

#define NATIVE_END(content)                                                                        \
	"{'index':$index,'content':'" content "','tokens':[],'id_slot':$index,'stop':true,"        \
	"'model':'$model','tokens_predicted':$completion_tokens,"                                  \
	"'tokens_evaluated':$prompt_tokens,'generation_settings':" SETTINGS ","                    \
	"'prompt':'$prompt','has_new_line':false,'truncated':false,'stop_type':$finish,"           \
	"'stopping_word':'$stop_text','tokens_cached':$resident_tokens,'timings':$timings}"

static const struct api_dialect server_native = {
	.id = "native-xxxxxxxxxxxxxxxx", /* of the truth log alone */
	.token = "data: {'index':$index,'content':'$text','tokens':[$token],'stop':false,"
		 "'id_slot':-1,'tokens_predicted':$completion_tokens,"
		 "'tokens_evaluated':$prompt_tokens" STOP_TIMINGS "}\n\n",
	.end = "data: " NATIVE_END("") "\n\n",
	.body = "$?m{[$}",
	.body_choice = NATIVE_END("$text"),
	.body_end = "$?m{]$}",
	.words = {"eos", "word", "limit"},
	.shows_stop = true,
};

static const struct http_habit server_head = {
	.server = "llama.cpp",
	.fields =
		(const struct head_field[]){
			{HEAD_SERVER, "Server", HEAD_ALWAYS, NULL},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "Access-Control-Allow-Origin", HEAD_ALWAYS, ""},
			{HEAD_TEXT, "X-Accel-Buffering", HEAD_IN_STREAM, "no"},
			{HEAD_TYPE, "Content-Type", HEAD_ALWAYS, NULL},
			{HEAD_LENGTH, "Content-Length", HEAD_ALWAYS, NULL},
			{HEAD_CHUNKED, "Transfer-Encoding", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "Keep-Alive", HEAD_ALWAYS | HEAD_IF_KEPT, "timeout=5, max=100"},
			{HEAD_CONNECTION, "Connection", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
	.closes_streams = true,
	.closes_errors = true,
};

#define FILE_NOT_FOUND "{'error':{'message':'File Not Found','type':'not_found_error','code':404}}"

static const struct refusal_words server_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {500, "server_error", NULL},
	[REFUSE_FORM] = {400, "invalid_request_error", NULL},
	[REFUSE_VALUE] = {400, "invalid_request_error", NULL},
	[REFUSE_LENGTH] = {400, NULL,
			   "{'error':{'code':400,'message':'$message',"
			   "'type':'exceed_context_size_error','n_prompt_tokens':$prompt_tokens,"
			   "'n_ctx':$max_tokens}}"},
	[REFUSE_KEY] = {401, "authentication_error", NULL},
	[REFUSE_MODEL] = {404, "not_found_error", NULL},
	[REFUSE_ROUTE] = {404, NULL, FILE_NOT_FOUND},
	[REFUSE_METHOD] = {404, NULL, FILE_NOT_FOUND},
	[REFUSE_BUSY] = {429, "rate_limit_error", NULL},
	[REFUSE_UNREADY] = {503, "unavailable_error", NULL},
	[REFUSE_ENGINE] = {500, "server_error", NULL},
};

static const struct route server_routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &server_chat},
	{"/chat/completions", "POST", api_generate, API_CHAT, &server_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &server_completions},
	{"/completion", "POST", api_generate, API_LLAMACPP, &server_native},
	{"/completions", "POST", api_generate, API_LLAMACPP, &server_native},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{"/models", "GET", admin_models, 0, NULL},
	{"/health", "GET", admin_health, 0, NULL},
	{"/v1/health", "GET", admin_health, 0, NULL},
	{"/metrics", "GET", admin_metrics, 0, NULL},
	{"/props", "GET", slots_props, 0, NULL},
	{"/slots", "GET", slots_list, 0, NULL},
	{0},
};

const struct wire_habit wire_llamacpp = {
	.name = "llamacpp",
	.help = "llama.cpp's llama-server",
	.basis = "recorded: llama-server 0c1e570",
	.http = &server_head,
	.json_type = "application/json; charset=utf-8",
	.stream_type = "text/event-stream",
	.text_type = "text/plain",
	.reading = READ_ANY_MODEL | READ_LOOSE | READ_ONE_USAGE | READ_NO_ECHO,
	.refusals = server_refusals,
	.error = "{'error':{'code':$status,'message':'$message','type':'$type'}}",
	.error_event = "data: {'error':{'code':$status,'message':'$message','type':'$type'}}\n\n",
	.health = "{'status':'ok'}",
	.models = "{'models':[{'name':'$model','model':'$model','modified_at':'','size':'',"
		  "'digest':'','type':'model','description':'','tags':[''],'capabilities':["
		  "'completion'],'parameters':'','details':{'parent_model':'','format':'gguf',"
		  "'family':'','families':[''],'parameter_size':'','quantization_level':''}}],"
		  "'object':'list','data':[",
	.models_item = "{'id':'$model','aliases':['$model'],'tags':[],'object':'model',"
		       "'created':$created,'owned_by':'llamacpp','meta':{'n_ctx':$context}}",
	.models_end = "]}",
	.routes = server_routes,
	.metrics = metrics_llamacpp,
	.metrics_type = "text/plain; version=0.0.4",
};

/* ---- llama-cpp-python: events as Python's json.dumps writes them, and no usage in any ---- */

#define PYTHON_CHAT(delta, finish)                                                                 \
	"data: {'id': '$id', 'model': '$model', 'created': $created, 'object': "                   \
	"'chat.completion.chunk', 'choices': [{'index': $index, 'delta': " delta ", 'logprobs': "  \
	"null, 'finish_reason': " finish "}]}\n\n"

#define PYTHON_TEXT(text, finish)                                                                  \
	"data: {'id': '$id', 'object': 'text_completion', 'created': $created, 'model': "          \
	"'$model', 'choices': [{'text': '" text "', 'index': $index, 'logprobs': null, "           \
	"'finish_reason': " finish "}]}\n\n"

#define PYTHON_USAGE                                                                               \
	"],'usage':{'prompt_tokens':$prompt_tokens,'completion_tokens':$completion_tokens,"        \
	"'total_tokens':$total_tokens}}"

static const struct api_dialect python_chat = {
	.id = "chatcmpl-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
	.role = PYTHON_CHAT("{'role': 'assistant'}", "null"),
	.token = PYTHON_CHAT("{'content': '$text'}", "null"),
	.end = PYTHON_CHAT("{}", "$finish"),
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'chat.completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'index':$index,'message':{'content':'$text','role':'assistant'},"
		       "'logprobs':null,'finish_reason':$finish}",
	.body_end = PYTHON_USAGE,
	.words = {"stop", "stop", "length"},
};

static const struct api_dialect python_completions = {
	.id = "cmpl-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
	.token = PYTHON_TEXT("$text", "null"),
	.end = PYTHON_TEXT("", "$finish"),
	.done = "data: [DONE]\n\n",
	.body = "{'id':'$id','object':'text_completion','created':$created,'model':'$model',"
		"'choices':[",
	.body_choice = "{'text':'$text','index':$index,'logprobs':null,'finish_reason':$finish}",
	.body_end = PYTHON_USAGE,
	.words = {"stop", "stop", "length"},
};

static const struct http_habit python_head = {
	.server = "uvicorn",
	.fields =
		(const struct head_field[]){
			{HEAD_DATE, "date", HEAD_ALWAYS, NULL},
			{HEAD_SERVER, "server", HEAD_ALWAYS, NULL},
			{HEAD_EXTRA, NULL, HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "cache-control", HEAD_IN_STREAM, "no-store"},
			{HEAD_TEXT, "connection", HEAD_IN_STREAM | HEAD_IF_KEPT, "keep-alive"},
			{HEAD_TEXT, "x-accel-buffering", HEAD_IN_STREAM, "no"},
			{HEAD_LENGTH, "content-length", HEAD_ALWAYS, NULL},
			{HEAD_TYPE, "content-type", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "openai-processing-ms", HEAD_ALWAYS | HEAD_IF_OK, "1"},
			{HEAD_RANDOM, "x-request-id", HEAD_ALWAYS, NULL},
			{HEAD_TEXT, "vary", HEAD_ALWAYS, "Origin"},
			{HEAD_CHUNKED, "Transfer-Encoding", HEAD_ALWAYS, NULL},
			{HEAD_CONNECTION, "Connection", HEAD_ALWAYS, NULL},
			{HEAD_END, NULL, 0, NULL},
		},
};

static const struct refusal_words python_refusals[N_REFUSALS] = {
	[REFUSE_JSON] = {500, NULL, "Internal Server Error"},
	[REFUSE_FORM] = {500, "internal_server_error", NULL},
	[REFUSE_VALUE] = {500, "internal_server_error", NULL},
	[REFUSE_LENGTH] = {400, NULL,
			   "{'error':{'message':'$message','type':'invalid_request_error',"
			   "'param':'messages','code':'context_length_exceeded'}}"},
	[REFUSE_KEY] = {401, NULL, "{'detail':'Invalid API key'}"},
	[REFUSE_ENGINE] = {500, "internal_server_error", NULL},
};

static const struct route python_routes[] = {
	{"/v1/chat/completions", "POST", api_generate, API_CHAT, &python_chat},
	{"/v1/completions", "POST", api_generate, API_COMPLETIONS, &python_completions},
	{"/v1/models", "GET", admin_models, 0, NULL},
	{0},
};

const struct wire_habit wire_llamacpp_python = {
	.name = "llamacpp-python",
	.help = "llama-cpp-python's server",
	.basis = "recorded: llama-cpp-python 0.3.36",
	.http = &python_head,
	.json_type = "application/json",
	.stream_type = "text/event-stream; charset=utf-8",
	.text_type = "text/plain; charset=utf-8",
	.ascii = true,
	.reading = READ_ANY_MODEL | READ_NO_USAGE | READ_NO_ECHO | READ_NO_IDS,
	.refusals = python_refusals,
	.error = "{'error':{'message':'$message','type':'$type','param':null,'code':null}}",
	.error_event = "data: {'error': {'message': '$message', 'type': '$type', 'param': null, "
		       "'code': null}}\n\n",
	.health = "",
	.models = "{'object':'list','data':[",
	.models_item = "{'id':'$model','object':'model','owned_by':'me','permissions':[]}",
	.models_end = "]}",
	.routes = python_routes,
};
