<?php

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Route;

Route::get('/', function () {
    DB::table('visits')->insert(['agent' => request()->userAgent()]);

    return 'hello from Laravel, the first time; visit '.DB::table('visits')->count()."\n";
});
